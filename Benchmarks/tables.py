"""The tables of Docs/performance.md, made of the results in Benchmarks/results; used by dev/bench."""
import re

CPU = "cpu_us_per_delivery"


def number(value):
    """Three significant digits or so, thousands apart."""
    if value is None:
        return "–"
    if abs(value) >= 10_000_000:
        return f"{value / 1e6:.1f} M"
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}" if digits > 0 else f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(head, rows, numbers_from=1):
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join("---" if i < numbers_from else "---:" for i in range(len(head))) + "|")
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def of_kind(documents, kind):
    return next((document for document in documents if document.get("kind") == kind), None)


def row_of(document, workload, key):
    for entry in document["workloads"]:
        if entry["name"] == workload:
            return next((row for row in entry["rows"] if row["key"] == key), None)
    return None


def run_figure(document, workload, key, who="node"):
    """The median of a figure that is no goal."""
    for entry in document["workloads"]:
        if entry["name"] == workload:
            found = sorted(run[key] for run in entry[f"{who}_runs"] if run.get(key) is not None)
            return found[len(found) // 2] if found else None
    return None


def machine(document):
    if not document:
        return None
    host = document["host"]
    quick = ", a quick run" if document["quick"] else ""
    # A saved file may have been renewed in part, with other numbers of runs.
    counts = sorted({len(workload["node_runs"]) for workload in document.get("workloads", [])} or {document["runs"]})
    runs = "single runs" if counts == [1] else f"medians of {' to '.join(str(count) for count in counts)} runs"
    return (f"{document['date']}, commit {document['commit']}: {host['cpu']}, {host['cores']} cores, "
            f"Linux {host['kernel']}, {runs}{quick}.")


def side_by_side(document):
    rows = []
    for workload in document["workloads"]:
        for index, row in enumerate(workload["rows"]):
            ratio = f"{row['ratio']:.2f}" if row["ratio"] else "–"
            spread = f"{row['ratio_from']:.2f}–{row['ratio_to']:.2f}" if row["ratio"] else ""
            met = {True: "met", False: "missed", None: ""}[row["met"]]
            rows.append([
                workload["title"] if index == 0 else "", row["label"], f"{number(row['node'])} {row['unit']}".strip(),
                f"{number(row['yardstick'])} {row['unit']}".strip() if row["yardstick"] is not None else "–", ratio, spread, row["target"], met])
    head = ["workload", "figure", "node", "yardstick", "ratio", "of pairs", "target", ""]
    return table(head, rows, numbers_from=2)


def capacity(document):
    rows = []

    def add(what, value, note):
        if value:
            rows.append([what, number(value), note])

    fan = row_of(document, "fan", CPU)
    add("deliveries a second and core, one message at a time", fan and 1e6 / fan["node"],
        "1 s of CPU ÷ CPU per delivery at 50/s")
    for name, key, what in (("pile", "deliveries_per_s", "deliveries a second and core when messages pile up"),
                            ("roomsloop", "deliveries_per_s", "the same, 100 rooms"),
                            ("echo16", "deliveries_per_s", "requests answered a second and core, 16 outstanding"),
                            ("connect", "connections_per_s", "connections opened a second and core")):
        row = row_of(document, name, key)
        add(what, row and row["node"], "measured")
    for name, what in (("connect", "idle connections in a GiB"), ("member", "members of a room in a GiB")):
        row = row_of(document, name, "pss_bytes_per_connection")
        kernel = run_figure(document, name, "kernel_bytes_per_connection")
        note = f"{number(row['node'])} B each in the process" if row else ""
        if row and kernel:
            note += f"; the kernel's sockets come on top: about {number(kernel / 2)} B for this end"
        add(what, row and row["node"] > 0 and 2**30 / row["node"], note)
    return table(["what", "this machine", "from"], rows)


def kernel_and_program(document):
    rows = []
    for entry in document["workloads"]:
        cells = []
        for who in ("node", "yardstick"):
            cpu = run_figure(document, entry["name"], CPU, who)
            kernel = run_figure(document, entry["name"], "kernel_percent", who)
            if cpu and kernel is not None:
                cells += [number(cpu), number(cpu * kernel / 100), number(cpu * (1 - kernel / 100))]
        if len(cells) == 6:
            rows.append([f"{entry['title']} ({entry['mode']})", *cells])
    head = ["workload (mode of the yardstick)", "node, µs a delivery", "kernel", "program", "yardstick, µs a delivery",
            "kernel", "program"]
    return table(head, rows)


def sweep(document, name):
    for entry in document["sweeps"]:
        if entry["name"] != name:
            continue
        rows = []
        if name == "nodes":
            for point in entry["points"]:
                node = point["node"]
                rows.append([f"{point['value']:,}", number(node["cpu_us_per_message"]),
                             number(node["aside_cpu_us_per_message"]), number(node.get("cross_latency_us.p50"))
                             if point["value"] > 1 else "–"])
            head = [entry["title"], "CPU of all nodes, µs a message", "CPU of Redis, µs a message", "p50 across, µs"]
            return table(head, rows, numbers_from=0)
        for point in entry["points"]:
            node, beside = point["node"], point.get("yardstick", {})
            ratio = node[CPU] / beside[CPU] if beside.get(CPU) else None
            rows.append([f"{point['value']:,}", number(node[CPU]), number(beside.get(CPU)), number(ratio),
                         number(node["cpu_us_per_message"])])
        head = [entry["title"], "node, µs a delivery", "yardstick, µs", "ratio", "node, µs a message"]
        return table(head, rows, numbers_from=0)
    return None


def micro(document):
    rows = []
    for step in document["steps"]:
        ns = step["ns"]
        time = f"{number(ns)} ns" if ns < 10_000 else f"{number(ns / 1e3)} µs"
        rows.append([re.sub(r"\d{4,}", lambda found: f"{int(found[0]):,}", step["name"]), time, f"{step['allocations']:g}"])
    return table(["step", "CPU", "allocations"], rows)


def blocks(documents):
    """The text for each place of the page, of those documents that are there."""
    result = {}
    compared, grown, steps = (of_kind(documents, kind) for kind in ("side-by-side", "sweep", "micro"))
    if compared:
        result["machine"] = machine(compared)
        result["side-by-side"] = side_by_side(compared)
        result["capacity"] = capacity(compared)
        result["kernel-and-program"] = kernel_and_program(compared)
    if grown:
        result["sweep-machine"] = machine(grown)
        for entry in grown["sweeps"]:
            result[f"sweep-{entry['name']}"] = sweep(grown, entry["name"])
    if steps:
        result["micro"] = micro(steps)
    return result


def show(documents):
    for name, text in blocks(documents).items():
        print(f"### {name}\n\n{text}\n")
    return 0


def update(page, documents):
    """Replaces what stands between `<!-- bench: NAME -->` and `<!-- /bench -->`."""
    text = page.read_text()
    for name, block in blocks(documents).items():
        text, found = re.subn(rf"(<!-- bench: {name} -->\n).*?(<!-- /bench -->)",
                              lambda match: match[1] + "\n" + block + "\n\n" + match[2], text, flags=re.S)
        print(f"{name}: {'replaced' if found else 'the page has no place for it'}")
    page.write_text(text)
    return 0
