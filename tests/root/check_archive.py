"""Reads a snapshot without lastgasp: zstd(1), tarfile and sha256 against the manifest.

Exit code 0 and one line of figures when it is whole; 1 and what is wrong, one line each.
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile


def problems(path):
    unpacked = subprocess.run(["zstd", "-dcq", path], capture_output=True)
    if unpacked.returncode != 0:
        yield f"zstd: {unpacked.stderr.decode(errors='replace').strip()}"
        return
    entries = {}
    order = []
    with tarfile.open(fileobj=io.BytesIO(unpacked.stdout)) as tar:
        tops = set()
        for member in tar:
            top, _, rest = member.name.partition("/")
            tops.add(top)
            if member.name.startswith("/") or ".." in member.name.split("/"):
                yield f"{member.name} leaves the directory"
            if member.isfile():
                if rest in entries:
                    yield f"{rest} is there twice"
                entries[rest] = tar.extractfile(member).read()
                order.append(rest)
        if len(tops) != 1:
            yield f"not one top directory but {sorted(tops)}"
    if order[:1] != ["incident.json"]:
        yield f"the first entry is {order[:1]}, not incident.json"
    if order[-1:] != ["manifest.json"]:
        yield f"the last entry is {order[-1:]}, not manifest.json"
        return
    manifest = json.loads(entries["manifest.json"])
    listed = {e["path"]: e for e in manifest["entries"]}
    for missing in sorted(set(entries) - set(listed) - {"manifest.json"}):
        yield f"{missing} is not in the manifest"
    for path, meta in listed.items():
        if path not in entries:
            yield f"{path} is in the manifest only"
        elif len(entries[path]) != meta["size"]:
            yield f"{path} has {len(entries[path])} bytes, the manifest says {meta['size']}"
        elif hashlib.sha256(entries[path]).hexdigest() != meta["sha256"]:
            yield f"{path} has another checksum than the manifest says"
    for collector in manifest["collectors"]:
        if collector["outcome"] not in ("complete", "truncated", "timed_out", "skipped", "failed"):
            yield f"collector {collector['name']} ended in {collector['outcome']!r}"
    print(f"{len(order)} entries, {len(unpacked.stdout)} bytes unpacked, salvaged: {manifest['salvaged']}")


found = list(problems(sys.argv[1]))
for problem in found:
    print(problem)
sys.exit(1 if found else 0)
