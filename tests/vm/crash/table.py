"""The result, as lines for a terminal and as a table in Markdown."""

import statistics

MARK = "<!-- The table below is written by tests/vm/run --table. -->\n"


def ms(value):
    return "" if value is None else f"{value:.0f}"


def line(run):
    row, verdict = run.verdict.row, run.verdict
    text = (
        f"{'ok  ' if verdict.passed else 'FAIL'} {run.kernel:6} {run.scenario['name']:28} guest {row.get('guest', '?'):8}"
        f" host {row.get('host', '?'):6} {row.get('kind', '?'):16} {row.get('function') or '':26}"
        f" T0 after {ms(row.get('guest_ms')) or '-':>5} / {ms(row.get('host_ms')) or '-':>5} ms, {row.get('seconds', 0):.0f} s"
    )
    return text if verdict.passed else text + "\n     " + "\n     ".join(verdict.problems)


def latencies(runs):
    parts = []
    for name, key in (("guest", "guest_ms"), ("host", "host_ms")):
        values = sorted(r.verdict.row[key] for r in runs if r.verdict.row.get(key) is not None)
        if values:
            parts.append(f"{name} median {statistics.median(values):.0f} ms, worst {values[-1]:.0f} ms of {len(values)}")
    return "first line to T0 on the disk: " + ("; ".join(parts) or "not measured")


def markdown(runs, releases):
    """One row a scenario; per kernel the two archives, kind, function and the two latencies."""
    kernels = list(releases)
    names = list(dict.fromkeys(r.scenario["name"] for r in runs))
    by_place = {(r.scenario["name"], r.kernel): r for r in runs}
    out = ["| scenario | what happens | kind | function | " + " | ".join(f"{k}: guest, host, T0 ms" for k in kernels) + " |"]
    out.append("|---" * (4 + len(kernels)) + "|")
    for name in names:
        some = next(r for r in runs if r.scenario["name"] == name)
        row = some.verdict.row
        cells = []
        for kernel in kernels:
            run = by_place.get((name, kernel))
            if run is None:
                cells.append("not run: " + some.scenario.get("why_not", "not on this kernel"))
                continue
            r = run.verdict.row
            times = f"{ms(r.get('guest_ms')) or '-'} / {ms(r.get('host_ms')) or '-'}" if "host_ms" in r else ""
            cell = f"{r.get('guest', '?')}, {r.get('host', '?')}" + (f", {times}" if times else "")
            cells.append(cell if run.verdict.passed else f"**failed** ({'; '.join(run.verdict.problems)[:120]})")
        function = f"`{row['function']}`" if row.get("function") else ""
        out.append(f"| {name} | {some.scenario['what']} | {row.get('kind', '?')} | {function} | " + " | ".join(cells) + " |")
    passed = sum(r.verdict.passed for r in runs)
    out += ["", f"{passed} of {len(runs)} passed. {latencies(runs).capitalize()}."]
    out += ["Kernels: " + ", ".join(f"{k} is {v}" for k, v in releases.items()) + ".", ""]
    return "\n".join(out)


def write(path, table):
    """Replaces what stands behind the mark; a file without one becomes the table alone."""
    text = path.read_text() if path.exists() else ""
    head = text.split(MARK)[0] + MARK if MARK in text else ""
    path.write_text(head + "\n" + table)
