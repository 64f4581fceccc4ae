"""Ways to damage a file: what disks, spreadsheets, editors and people do to it, as hypothesis draws them."""

import csv
import io

from hypothesis import strategies as st

#: What is put between two bytes: what CSV, YAML, JSON and decoders stumble over.
WEDGES = [b'"', b"'", b"\0", b"\r", b"\n", b",", b";", b"\t", b"\xff", b"\xe2", b"\xed\xa0\x80", b"- ", b": "]
WEDGES += [
    b"{",
    b"]",
    b"&a ",
    b"*a ",
    b"!!python/name:os.system ",
    b"\xef\xbb\xbf",
    "\u2028".encode(),
    b"1e400",
]
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1", "cp437")
#: Ways to damage a file that leave what it means: it is read as it was.
HARMLESS = ("as it is", "blank lines", "columns moved")
#: Ways that change letters, or the line ends within a text, and no code.
NEARLY = ("encoded", "line ends")


@st.composite
def damaged(draw, content: bytes, kinds: tuple[str, ...]) -> tuple[str, bytes]:
    """A kind of damage, and the content that it leaves."""
    kind = draw(st.sampled_from(kinds))
    places = st.integers(0, len(content))
    first, last = sorted([draw(places), draw(places)])
    lines = content.splitlines(keepends=True)
    match kind:
        case "cut":
            content = content[:first]
        case "beheaded":
            content = content[first:]
        case "emptied":
            content = draw(st.sampled_from([b"", b"\n", b"\0" * len(content)]))
        case "doubled":
            content = content[:last] + content[first:]
        case "dropped":
            content = content[:first] + content[last:]
        case "flipped":
            changed = bytearray(content)
            for place, by in draw(st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=6)):
                changed[place % len(content)] ^= by
            content = bytes(changed)
        case "wedged":
            content = content[:first] + draw(st.sampled_from(WEDGES)) + content[first:]
        case "lines shuffled":
            content = b"".join(draw(st.permutations(lines)))
        case "columns moved":
            content = _columns_moved(content, draw(st.randoms()))
        case "encoded":
            content = content.decode().encode(draw(st.sampled_from(ENCODINGS)), "replace")
        case "encodings mixed":
            encoded = (
                content[first:].decode("utf-8", "ignore").encode(draw(st.sampled_from(ENCODINGS)), "replace")
            )
            content = content[:first] + encoded
        case "line ends":
            content = content.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r"])))
        case "blank lines":
            content = content.rstrip(b"\n") + b"\n" * draw(st.integers(0, 5))
    return kind, content


def _columns_moved(content: bytes, random) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    order = random.sample(range(len(rows[0])), len(rows[0]))
    moved = io.StringIO()
    csv.writer(moved, lineterminator="\n").writerows([row[n] for n in order] for row in rows)
    return moved.getvalue().encode()


BINARY = ("cut", "beheaded", "emptied", "doubled", "dropped", "flipped", "wedged")
TEXT = (*BINARY, "as it is", "lines shuffled", "encoded", "encodings mixed", "line ends", "blank lines")
CSV = (*TEXT, "columns moved")
