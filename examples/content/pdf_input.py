"""Ask a question about a PDF file; every model can answer it, because the server extracts the text of the file."""

import base64

from examples.connection import MODEL, connect

client = connect()

# A real program would read a file instead.
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 100]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj
4 0 obj<</Length 58>>stream
BT /F 12 Tf 10 50 Td (The lighthouse keeper is Ada.) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
"""

# To pass a public URL instead, use `file_url`.
pdf_file = {"type": "input_file", "filename": "log.pdf", "file_data": base64.b64encode(PDF).decode()}
question = {"type": "input_text", "text": "Who keeps the lighthouse? Answer with the name."}
messages = [{"role": "user", "content": [pdf_file, question]}]
response = client.responses.create(model=MODEL, input=messages, max_output_tokens=40, temperature=0)
print(response.status, response.output_text)
assert response.status in {"completed", "incomplete"}
assert response.usage is not None
assert response.usage.input_tokens > 30, "the text of the file is not part of the input"

# If a file cannot be read, the response fails with an error that contains the name of the file and the reason.
damaged_file = {"type": "input_file", "filename": "damaged.pdf", "file_data": base64.b64encode(PDF[:120]).decode()}
response = client.responses.create(model=MODEL, input=[{"role": "user", "content": [damaged_file]}], background=True)
while response.status in {"queued", "in_progress"}:
    response = client.responses.retrieve(response.id, extra_headers={"Prefer": "wait=20"})
print(response.status, response.error)
assert response.error is not None
assert response.error.code == "invalid_prompt"
assert "damaged.pdf" in response.error.message
