"""Valid and malicious images and documents, generated for tests."""

import base64
import io
import struct
import zipfile
import zlib

from PIL import Image

_NAMESPACE_ROOT = "http://schemas.openxmlformats.org"
_CONTENT_TYPES = """<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/{part}" ContentType="application/vnd.openxmlformats-officedocument.{document_type}.main+xml"/></Types>"""
_RELATIONSHIPS = """<?xml version="1.0"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>"""
_RELATIONSHIP = (
    '<Relationship Id="{id}" Type="'
    + _NAMESPACE_ROOT
    + '/officeDocument/2006/relationships/{type}" Target="{target}"/>'
)


def data_url(media_type: str, content: bytes) -> str:
    """A data URL in base64."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def image(file_format: str = "PNG", size: tuple[int, int] = (8, 8), color: str = "red") -> bytes:
    """An image of one color; `size` is the width and the height in pixels."""
    output = io.BytesIO()
    Image.new("RGB", size, color).save(output, file_format)
    return output.getvalue()


def noise(side: int) -> bytes:
    """An uncompressed square PNG of random pixels, with about three bytes per pixel.

    Args:
        side: width and height in pixels.
    """
    output = io.BytesIO()
    Image.effect_noise((side, side), 100).convert("RGB").save(output, "PNG", compress_level=0)
    return output.getvalue()


def png_with_declared_size(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares this size in pixels in its header."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    bit_depth, rgb = 8, 2
    header = struct.pack(">IIBBBBB", width, height, bit_depth, rgb, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def webp_with_declared_size(width: int, height: int) -> bytes:
    """A WebP of a few bytes that declares this size in pixels in its header."""
    dimensions = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + dimensions
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pdf(*texts: str, content: bytes | None = None, filters: str = "", trailer: str = "") -> bytes:
    """A PDF with one page per text.

    Args:
        content: the content stream of every page, instead of its text.
        filters: entries of that stream's dictionary that state how the stream is compressed.
        trailer: additional entries of the trailer.
    """
    pages = range(len(texts))
    page_references = " ".join(f"{4 + 2 * page} 0 R" for page in pages)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{page_references}]/Count {len(texts)}>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for page, text in enumerate(texts):
        stream = f"BT /F1 18 Tf 20 200 Td ({text}) Tj ET".encode() if content is None else content
        page_entries = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 300]/Resources<</Font<</F1 3 0 R>>>>"
        objects.append(f"{page_entries}/Contents {5 + 2 * page} 0 R>>".encode())
        objects.append(f"<</Length {len(stream)}{filters}>>stream\n".encode() + stream + b"\nendstream")
    output = io.BytesIO()
    output.write(b"%PDF-1.4\n")
    offsets = []
    for number, definition in enumerate(objects, 1):
        offsets.append(output.tell())
        output.write(f"{number} 0 obj".encode() + definition + b"\nendobj\n")
    table_offset = output.tell()
    output.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    output.writelines(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    output.write(f"trailer<</Size {len(objects) + 1}/Root 1 0 R{trailer}>>\nstartxref\n{table_offset}\n%%EOF".encode())
    return output.getvalue()


def encrypted_pdf() -> bytes:
    """A PDF encrypted with an unknown password."""
    owner, user = "01" * 32, "02" * 32
    encryption = f"/Encrypt<</Filter/Standard/V 1/R 2/O<{owner}>/U<{user}>/P -4>>/ID[<00><00>]"
    return pdf("Secret", trailer=encryption)


def pdf_bomb(megabytes: int) -> bytes:
    """A one-page PDF with a content stream that is compressed twice and expands to this many megabytes."""
    compressor = zlib.compressobj()
    spaces = b"".join(compressor.compress(b" " * 1024 * 1024) for _ in range(megabytes)) + compressor.flush()
    return pdf("x", content=zlib.compress(spaces, 9), filters="/Filter[/FlateDecode/FlateDecode]")


def zip_archive(parts: dict[str, str | bytes]) -> bytes:
    """A ZIP archive with these contents by file name."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return output.getvalue()


def _office(main_part: str, document_type: str, parts: dict[str, str | bytes]) -> bytes:
    """An Office document with these parts, and with the index files that the format requires.

    Args:
        main_part: the name of the part that contains the document.
        document_type: the part of the media type that states the kind of the document.
        parts: contents by file name.
    """
    root = _RELATIONSHIPS.format(_RELATIONSHIP.format(id="r1", type="officeDocument", target=main_part))
    return zip_archive(
        {
            "[Content_Types].xml": _CONTENT_TYPES.format(part=main_part, document_type=document_type),
            "_rels/.rels": root,
            **parts,
        }
    )


def docx(text: str, **extra_parts: bytes) -> bytes:
    """A Word document with one paragraph, and optional further parts under `word/`."""
    namespace = f'xmlns:w="{_NAMESPACE_ROOT}/wordprocessingml/2006/main"'
    paragraph = f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
    body = f'<?xml version="1.0"?><w:document {namespace}><w:body>{paragraph}</w:body></w:document>'
    parts = {"word/document.xml": body} | {f"word/{name}": content for name, content in extra_parts.items()}
    return _office("word/document.xml", "wordprocessingml.document", parts)


def docx_from_xml(document: str | bytes) -> bytes:
    """A Word document with this XML as its main part."""
    return _office("word/document.xml", "wordprocessingml.document", {"word/document.xml": document})


def xlsx(*cells: str) -> bytes:
    """A spreadsheet with one row."""
    namespace = f'xmlns="{_NAMESPACE_ROOT}/spreadsheetml/2006/main"'
    row = "".join(
        f'<c r="{chr(ord("A") + column)}1" t="inlineStr"><is><t>{cell}</t></is></c>'
        for column, cell in enumerate(cells)
    )
    sheet = f'<?xml version="1.0"?><worksheet {namespace}><sheetData><row r="1">{row}</row></sheetData></worksheet>'
    relationship_namespace = f'xmlns:r="{_NAMESPACE_ROOT}/officeDocument/2006/relationships"'
    sheets = '<sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets>'
    book = f'<?xml version="1.0"?><workbook {namespace} {relationship_namespace}>{sheets}</workbook>'
    relationships = _RELATIONSHIPS.format(
        _RELATIONSHIP.format(id="r1", type="worksheet", target="worksheets/sheet1.xml")
    )
    parts: dict[str, str | bytes] = {
        "xl/workbook.xml": book,
        "xl/_rels/workbook.xml.rels": relationships,
        "xl/worksheets/sheet1.xml": sheet,
    }
    return _office("xl/workbook.xml", "spreadsheetml.sheet", parts)


def pptx(text: str) -> bytes:
    """A presentation with one slide."""
    drawing = f'xmlns:a="{_NAMESPACE_ROOT}/drawingml/2006/main"'
    presentation = f'xmlns:p="{_NAMESPACE_ROOT}/presentationml/2006/main"'
    relationship_namespace = f'xmlns:r="{_NAMESPACE_ROOT}/officeDocument/2006/relationships"'
    paragraph = f"<p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody>"
    shape_properties = "<p:nvSpPr><p:cNvPr id='2' name='t'/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/>"
    shape = f"<p:sp>{shape_properties}{paragraph}</p:sp>"
    group = "<p:nvGrpSpPr><p:cNvPr id='1' name=''/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>"
    namespaces = f"{drawing} {presentation} {relationship_namespace}"
    tree = f"<p:cSld><p:spTree>{group}{shape}</p:spTree></p:cSld>"
    slide = f'<?xml version="1.0"?><p:sld {namespaces}>{tree}</p:sld>'
    slide_list = '<p:sldIdLst><p:sldId id="256" r:id="r1"/></p:sldIdLst>'
    main_part = f'<?xml version="1.0"?><p:presentation {namespaces}>{slide_list}</p:presentation>'
    relationships = _RELATIONSHIPS.format(_RELATIONSHIP.format(id="r1", type="slide", target="slides/slide1.xml"))
    parts: dict[str, str | bytes] = {
        "ppt/presentation.xml": main_part,
        "ppt/_rels/presentation.xml.rels": relationships,
        "ppt/slides/slide1.xml": slide,
    }
    return _office("ppt/presentation.xml", "presentationml.presentation", parts)


# Each entity contains the previous entity twice: `e30` expands to 2^30 times the text of `e0`.
ENTITIES = "".join(f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, 31))
# The beginning of an XML document that declares the entities.
ENTITY_BOMB = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY e0 "lol">{ENTITIES}]>'


def pdf_with_nested_forms(depth: int) -> bytes:
    """A one-page PDF that draws a text 2^(depth + 1) times: the page and each nested form draw the next form twice."""
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>",
        "<</Length 10>>stream\n/X Do /X Do\nendstream",
    ]
    for level in range(depth):
        next_form = f"/XObject<</X {6 + level} 0 R>>"
        stream = "/X Do /X Do"
        objects.append(
            f"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<<{next_form}>>/Length {len(stream)}>>"
            f"stream\n{stream}\nendstream"
        )
    text = "BT /F 1 Tf (lol) Tj ET"
    fonts = "<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    objects.append(
        f"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources{fonts}/Length {len(text)}>>stream\n{text}\nendstream"
    )
    body = "".join(f"{number} 0 obj{definition}\nendobj\n" for number, definition in enumerate(objects, 1))
    return f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>".encode()
