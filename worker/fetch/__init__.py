"""Downloads of URLs from client requests, and text extraction from documents."""
