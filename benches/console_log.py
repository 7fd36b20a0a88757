"""Writes a console log like that of a machine followed for months: console_log.py BYTES FILE

The text is that of real boots (fixtures/boot), boot after boot. Each time its stamps, numbers, addresses and device
names are other ones, so that no search gets to know the text by heart. About every 1.5 MB one of the failures of
fixtures/detect stands among the lines, with the stamps of its surroundings. The same BYTES make the same file.
"""

import pathlib
import random
import re
import sys

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
TRACE_EVERY = 1_500_000
STAMP = re.compile(rb"^\[ *(\d+)\.(\d{6})\]")
# An address or other number after 0x, a number of three digits or more, a disk, an interface.
VARIED = re.compile(rb"0x[0-9a-f]{4,16}|\b\d{3,9}\b|\b(?:sd|vd)[a-z](?=\d?\b)|\beth\d\b")


def boots():
    # Lines keep the carriage returns that a serial console ends them with.
    found = sorted((FIXTURES / "boot").glob("*.log"))
    return [parsed(path.read_bytes().removesuffix(b"\n").split(b"\n")) for path in found]


def parsed(lines):
    """Each line as its stamp in microseconds, if it has one, and its text cut at what varies."""
    result = []
    for line in lines:
        stamp = STAMP.match(line)
        text = line[stamp.end() :] if stamp else line
        fixed, at = [], 0
        for word in VARIED.finditer(text):
            fixed += [text[at : word.start()], word.group()]
            at = word.end()
        fixed.append(text[at:])
        result.append((int(stamp[1]) * 1_000_000 + int(stamp[2]) if stamp else None, fixed))
    return result


def traces():
    found = []
    for path in sorted((FIXTURES / "detect").glob("*.hit.log")):
        # The first line names the source.
        found.append([STAMP.sub(b"", line) for line in path.read_bytes().splitlines()[1:]])
    return found


def another(word, random_bits, shift):
    """A word of the same kind and length."""
    if word.startswith(b"0x"):
        return b"0x%0*x" % (len(word) - 2, random_bits & (1 << 4 * (len(word) - 2)) - 1)
    if word[:1].isdigit():
        low = 10 ** (len(word) - 1)
        return b"%d" % (low + random_bits % (9 * low))
    if word.startswith(b"eth"):
        return b"eth%d" % ((word[3] - 48 + shift) % 10)
    return word[:2] + b"%c" % (97 + (word[2] - 97 + shift) % 26)


def stamped(us, text):
    return b"[%5d.%06d]%s\n" % (us // 1_000_000, us % 1_000_000, text)


def main():
    size, path = int(sys.argv[1]), sys.argv[2]
    chance = random.Random(1)
    texts, failures = boots(), traces()
    written, next_trace = 0, TRACE_EVERY // 2
    with open(path, "wb") as file:
        while written < size:
            shift, late = chance.randrange(10), 0
            for us, parts in chance.choice(texts):
                late += chance.randrange(500)
                words = [another(p, chance.getrandbits(64), shift) if n % 2 else p for n, p in enumerate(parts)]
                text = b"".join(words)
                line = text + b"\n" if us is None else stamped(us + late, text)
                file.write(line)
                written += len(line)
                if written >= next_trace and us is not None:
                    for n, text in enumerate(chance.choice(failures)):
                        line = stamped(us + late + n, text)
                        file.write(line)
                        written += len(line)
                    next_trace += chance.randrange(2 * TRACE_EVERY)
                if written >= size:
                    break


if __name__ == "__main__":
    main()
