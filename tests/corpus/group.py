#!/usr/bin/env python3
"""Groups the events of `lastgasp scan --format json` (standard input) by file: one row a log (standard output)."""
import collections
import json
import os
import sys

KEYS = ("kind", "title", "function", "alarm", "line", "panicked")
rows = collections.OrderedDict()
for line in sys.stdin:
    event = json.loads(line)
    rows.setdefault(os.path.basename(event["file"]), []).append({k: event[k] for k in KEYS})
for name, events in rows.items():
    print(json.dumps({"file": name, "events": events}))
