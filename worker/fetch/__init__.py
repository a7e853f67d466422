"""Downloads of clients' URLs, and the text of documents."""
