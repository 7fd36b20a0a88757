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


def latencies(results):
    parts = []
    for name, key in (("guest", "guest_ms"), ("host", "host_ms")):
        values = sorted(r["row"][key] for r in results if r["row"].get(key) is not None)
        if values:
            parts.append(f"{name} median {statistics.median(values):.0f} ms, worst {values[-1]:.0f} ms of {len(values)}")
    return "first line to T0 on the disk: " + ("; ".join(parts) or "not measured")


def cell(result):
    row = result["row"]
    if result["problems"]:
        return f"**failed** ({'; '.join(result['problems'])[:120]})".replace("|", "/")
    times = f", {ms(row.get('guest_ms')) or '-'} / {ms(row.get('host_ms')) or '-'}" if "host_ms" in row else ""
    return f"{row.get('guest', '?')}, {row.get('host', '?')}{times}"


def markdown(results, scenarios):
    """One row a scenario; per kernel the two archives, kind, function and the two latencies."""
    kernels = list(dict.fromkeys(r["kernel"] for r in results))
    by_place = {(r["scenario"], r["kernel"]): r for r in results}
    out = ["| scenario | what happens | kind | function | " + " | ".join(f"{k}: guest, host, T0 ms" for k in kernels) + " |"]
    out.append("|---" * (4 + len(kernels)) + "|")
    for name, scenario in scenarios.items():
        mine = [by_place[name, k] for k in kernels if (name, k) in by_place]
        if not mine:
            continue
        kinds = dict.fromkeys(r["row"].get("kind", "?") for r in mine)
        functions = dict.fromkeys(f"`{r['row']['function']}`" for r in mine if r["row"].get("function"))
        cells = [cell(by_place[name, k]) if (name, k) in by_place else "not run" for k in kernels]
        out.append(f"| {name} | {scenario['what']} | {', '.join(kinds)} | {', '.join(functions)} | " + " | ".join(cells) + " |")
    passed = sum(not r["problems"] for r in results)
    told = latencies(results)
    out += ["", f"{passed} of {len(results)} passed. {told[0].upper()}{told[1:]}."]
    releases = dict.fromkeys((r["kernel"], r["release"]) for r in results)
    out += ["Kernels: " + ", ".join(f"{k} is {v}" for k, v in releases) + ".", ""]
    return "\n".join(out)


def write(path, table):
    """Replaces what stands behind the mark; a file without one becomes the table alone."""
    text = path.read_text() if path.exists() else ""
    head = text.split(MARK)[0] + MARK if MARK in text else ""
    path.write_text(head + "\n" + table)
