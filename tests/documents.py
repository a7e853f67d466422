"""Images and documents for tests, valid and hostile; all are generated here, none is downloaded."""

import base64
import io
import struct
import zipfile
import zlib

from PIL import Image

_OFFICE = "http://schemas.openxmlformats.org"
_TYPES = """<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/{part}" ContentType="application/vnd.openxmlformats-officedocument.{kind}.main+xml"/></Types>"""
_RELS = """<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
{}</Relationships>"""
_REL = '<Relationship Id="{id}" Type="' + _OFFICE + '/officeDocument/2006/relationships/{type}" Target="{target}"/>'


def data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def image(kind: str = "PNG", size: tuple[int, int] = (8, 8), color: str = "red") -> bytes:
    """An image of one color."""
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, kind)
    return out.getvalue()


def noise(size: int) -> bytes:
    """An incompressible PNG of about three times `size` squared bytes."""
    out = io.BytesIO()
    Image.effect_noise((size, size), 100).convert("RGB").save(out, "PNG", compress_level=0)
    return out.getvalue()


def png_that_says(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def webp_that_says(width: int, height: int) -> bytes:
    """A WebP whose header claims this size."""
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sizes
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pdf(*texts: str, content: bytes | None = None, filters: str = "", trailer: str = "") -> bytes:
    """A PDF with one page per text.

    Args:
        content: content stream of every page, in place of the texts.
        filters: filters of that stream, as written in its dictionary.
        trailer: additional entries of the trailer.
    """
    pages = range(len(texts))
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in pages)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(texts)}>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for page, text in enumerate(texts):
        drawn = f"BT /F1 18 Tf 20 200 Td ({text}) Tj ET".encode() if content is None else content
        page_of = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 300]/Resources<</Font<</F1 3 0 R>>>>"
        objects.append(f"{page_of}/Contents {5 + 2 * page} 0 R>>".encode())
        objects.append(f"<</Length {len(drawn)}{filters}>>stream\n".encode() + drawn + b"\nendstream")
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.4\n")
    places = []
    for number, one in enumerate(objects, 1):
        places.append(out.tell())
        out.write(f"{number} 0 obj".encode() + one + b"\nendobj\n")
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.writelines(f"{place:010d} 00000 n \n".encode() for place in places)
    out.write(f"trailer<</Size {len(objects) + 1}/Root 1 0 R{trailer}>>\nstartxref\n{start}\n%%EOF".encode())
    return out.getvalue()


def encrypted_pdf() -> bytes:
    """A PDF encrypted with an unknown password."""
    owner, user = "01" * 32, "02" * 32
    encryption = f"/Encrypt<</Filter/Standard/V 1/R 2/O<{owner}>/U<{user}>/P -4>>/ID[<00><00>]"
    return pdf("Secret", trailer=encryption)


def pdf_bomb(megabytes: int) -> bytes:
    """A one-page PDF whose content, compressed twice, expands to `megabytes`."""
    packer = zlib.compressobj()
    once = b"".join(packer.compress(b" " * 1024 * 1024) for _ in range(megabytes)) + packer.flush()
    return pdf("x", content=zlib.compress(once, 9), filters="/Filter[/FlateDecode/FlateDecode]")


def packed(parts: dict[str, str | bytes]) -> bytes:
    """A ZIP archive of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def _office(part: str, kind: str, parts: dict[str, str | bytes]) -> bytes:
    root = _RELS.format(_REL.format(id="r1", type="officeDocument", target=part))
    return packed({"[Content_Types].xml": _TYPES.format(part=part, kind=kind), "_rels/.rels": root, **parts})


def docx(text: str, **more: bytes) -> bytes:
    """A Word document with one paragraph, and optional further parts under `word/`."""
    space = f'xmlns:w="{_OFFICE}/wordprocessingml/2006/main"'
    body = f'<?xml version="1.0"?><w:document {space}><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>'
    others = {f"word/{name}": content for name, content in more.items()}
    return _office("word/document.xml", "wordprocessingml.document", {"word/document.xml": body, **others})


def docx_of(document: str | bytes) -> bytes:
    """A Word document with this main part."""
    return _office("word/document.xml", "wordprocessingml.document", {"word/document.xml": document})


def xlsx(*cells: str) -> bytes:
    """A spreadsheet with one row."""
    space = f'xmlns="{_OFFICE}/spreadsheetml/2006/main"'
    row = "".join(f'<c r="{chr(65 + n)}1" t="inlineStr"><is><t>{cell}</t></is></c>' for n, cell in enumerate(cells))
    sheet = f'<?xml version="1.0"?><worksheet {space}><sheetData><row r="1">{row}</row></sheetData></worksheet>'
    relation = f'xmlns:r="{_OFFICE}/officeDocument/2006/relationships"'
    book = f'<?xml version="1.0"?><workbook {space} {relation}><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>'
    relations = _RELS.format(_REL.format(id="r1", type="worksheet", target="worksheets/sheet1.xml"))
    parts: dict[str, str | bytes] = {
        "xl/workbook.xml": book,
        "xl/_rels/workbook.xml.rels": relations,
        "xl/worksheets/sheet1.xml": sheet,
    }
    return _office("xl/workbook.xml", "spreadsheetml.sheet", parts)


def pptx(text: str) -> bytes:
    """A presentation with one slide."""
    a, p = f'xmlns:a="{_OFFICE}/drawingml/2006/main"', f'xmlns:p="{_OFFICE}/presentationml/2006/main"'
    relation = f'xmlns:r="{_OFFICE}/officeDocument/2006/relationships"'
    shape = f"<p:sp><p:nvSpPr><p:cNvPr id='2' name='t'/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
    group = "<p:nvGrpSpPr><p:cNvPr id='1' name=''/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>"
    slide = (
        f'<?xml version="1.0"?><p:sld {a} {p} {relation}><p:cSld><p:spTree>{group}{shape}</p:spTree></p:cSld></p:sld>'
    )
    show = f'<?xml version="1.0"?><p:presentation {a} {p} {relation}><p:sldIdLst><p:sldId id="256" r:id="r1"/></p:sldIdLst></p:presentation>'
    relations = _RELS.format(_REL.format(id="r1", type="slide", target="slides/slide1.xml"))
    parts: dict[str, str | bytes] = {
        "ppt/presentation.xml": show,
        "ppt/_rels/presentation.xml.rels": relations,
        "ppt/slides/slide1.xml": slide,
    }
    return _office("ppt/presentation.xml", "presentationml.presentation", parts)


# A document type declaration whose entities double a word thirty times.
ENTITIES = "".join(f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, 31))
ENTITY_BOMB = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY e0 "lol">{ENTITIES}]>'


def pdf_of_forms(depth: int) -> bytes:
    """A one-page PDF whose forms each draw the next form twice: 2^depth texts."""
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>",
        "<</Length 10>>stream\n/X Do /X Do\nendstream",
    ]
    for level in range(depth):
        inner = f"/XObject<</X {6 + level} 0 R>>"
        drawn = "/X Do /X Do"
        objects.append(
            f"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<<{inner}>>/Length {len(drawn)}>>"
            f"stream\n{drawn}\nendstream"
        )
    text = "BT /F 1 Tf (lol) Tj ET"
    fonts = "<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    objects.append(
        f"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources{fonts}/Length {len(text)}>>stream\n{text}\nendstream"
    )
    body = "".join(f"{number} 0 obj{one}\nendobj\n" for number, one in enumerate(objects, 1))
    return f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>".encode()
