#!/usr/bin/env python3
"""Writes the dashboards of this folder: one row below is one panel. Run it after a change; a test compares.

usage: dashboards.py [FOLDER]"""
import json
import pathlib
import sys

RATE = "$__rate_interval"


def rate(metric, by="", where=""):
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{SELECT}{where}}}[{RATE}]))"


def quantiles(metric, by="", where=""):
    return [(f"histogram_quantile({q}, sum by (le{f', {by}' if by else ''}) (rate({metric}_bucket{{{SELECT}{where}}}[{RATE}])))",
             f"p{int(q * 100)}{f' {{{{{by}}}}}' if by else ''}") for q in (0.5, 0.99)]


SELECT = 'job="$job",instance=~"$instance"'
DASHBOARDS = {
    "overview": ("tally: overview", [
        # title, unit, [(query, legend)]
        ("Processing", [
            ("Commands decided", "ops", [(rate("tally_commands_total", "topology, outcome"), "{{topology}} {{outcome}}")]),
            ("Records polled", "ops", [(rate("tally_records_polled_total", "topology"), "{{topology}}")]),
            ("Lag in records", "short", [(f"sum by (topology) (tally_consumer_lag_records{{{SELECT}}} >= 0)", "{{topology}}")]),
            ("Lag in seconds", "s", [(f"max by (topology) (tally_consumer_lag_seconds{{{SELECT}}})", "{{topology}}")]),
            ("End to end: command to readable outcome", "s", quantiles("tally_end_to_end_seconds", "topology")),
            ("Dead letters", "ops", [(rate("tally_dead_letters_total", "topic, reason"), "{{topic}} {{reason}}")]),
        ]),
        ("Transactions", [
            ("Commits", "s", quantiles("tally_commit_seconds")),
            ("Transactions by result", "ops", [(rate("tally_transactions_total", "result"), "{{result}}")]),
            ("Producers replaced, rebalances", "ops", [(rate("tally_producers_recreated_total"), "producers replaced"),
                                                       (rate("tally_rebalances_total", "kind"), "{{kind}}")]),
            ("Timers: how late", "s", quantiles("tally_timer_lateness_seconds", "topology")),
        ]),
        ("State", [
            ("Tasks by state", "short", [(f"count by (instance) (tally_task_state{{{SELECT}}} == {number})", f"{{{{instance}}}} {name}")
                                         for number, name in ((1, "restoring"), (2, "running"), (3, "parked"), (4, "halted"))]),
            ("Left to restore", "short", [(f"sum by (topology) (tally_restore_remaining_records{{{SELECT}}})", "{{topology}}"),
                                          (rate("tally_restored_records_total", "topology"), "{{topology}} a second")]),
            ("Memory of state", "bytes", [(f"sum by (kind) (tally_state_memory_bytes{{{SELECT}}})", "{{kind}}")]),
            ("On disk, free", "bytes", [(f"sum by (topology) (tally_rocksdb_sst_bytes{{{SELECT}}})", "{{topology}}"),
                                        (f"min by (instance) (tally_state_free_bytes{{{SELECT}}})", "{{instance}} free")]),
            ("Flush", "s", quantiles("tally_flush_seconds")),
            ("Flushed", "Bps", [(rate("tally_flush_bytes_total"), "bytes"), (rate("tally_flushes_total", "result"), "flushes {{result}}")]),
        ]),
        ("Process", [
            ("CPU", "short", [(rate("process_cpu_seconds_total", "instance"), "{{instance}}")]),
            ("Resident memory", "bytes", [(f"max by (instance) (process_resident_memory_bytes{{{SELECT}}})", "{{instance}}")]),
            ("Log lines", "ops", [(rate("tally_log_lines_total", "level"), "{{level}}")]),
            ("Starts", "short", [(f"sum by (instance) (changes(process_start_time_seconds{{{SELECT}}}[15m]))", "{{instance}} in 15 min")]),
        ]),
    ]),
    "http": ("tally: HTTP, GraphQL, WebSocket", [
        ("Requests", [
            ("Requests by route", "reqps", [(rate("tally_http_requests_total", "route"), "{{route}}")]),
            ("Failed requests", "reqps", [(rate("tally_http_requests_total", "route, status", ',status=~"4xx|5xx"'), "{{route}} {{status}}")]),
            ("Time to answer", "s", quantiles("tally_http_request_seconds")),
            ("p99 by route", "s", quantiles("tally_http_request_seconds", "route")[1:]),
            ("Refused by credentials, audit", "ops", [(rate("tally_http_refused_total", "reason"), "{{reason}}"),
                                                      (rate("tally_http_audit_records_total", "result"), "audit {{result}}")]),
        ]),
        ("WebSocket", [
            ("Sockets, subscriptions", "short", [(f"sum(tally_websocket_sockets{{{SELECT}}})", "sockets"),
                                                 (f"sum(tally_websocket_subscriptions{{{SELECT}}})", "subscriptions")]),
            ("Deltas", "ops", [(rate("tally_websocket_deltas_total"), "sent"), (rate("tally_websocket_conflated_total"), "conflated")]),
            ("Closed", "ops", [(rate("tally_websocket_closes_total", "code"), "{{code}}")]),
        ]),
    ]),
    "sinks": ("tally: sinks", [
        ("Sinks", [
            ("Lag in records", "short", [(f"sum by (sink) (tally_sink_lag_records{{{SELECT}}} >= 0)", "{{sink}}")]),
            ("Lag in seconds", "s", [(f"max by (sink) (tally_sink_lag_seconds{{{SELECT}}})", "{{sink}}")]),
            ("Events", "ops", [(rate("tally_sink_records_total", "sink, result"), "{{sink}} {{result}}")]),
            ("Time to write a batch", "s", quantiles("tally_sink_write_seconds", "sink")),
            ("State: 1 running, 2 rebuilding, 3 paused, 4 backing off, 5 failed", "short",
             [(f"max by (instance, sink) (tally_sink_state{{{SELECT}}})", "{{instance}} {{sink}}")]),
            ("Errors", "ops", [(rate("tally_sink_errors_total", "sink, code"), "{{sink}} {{code}}"),
                               (f"max by (sink) (tally_sink_breaker{{{SELECT}}})", "{{sink}} breaker")]),
        ]),
    ]),
    "stock": ("tally: stock", [
        ("Stock", [
            ("Levels that need attention", "short", [(f"sum by (severity) (tally_low_stock_levels{{{SELECT}}})", "{{severity}}")]),
            ("Sold out", "short", [(f'sum(tally_low_stock_levels{{{SELECT},severity="out"}})', "sold out")]),
            ("Oversold", "short", [(f'sum(tally_low_stock_levels{{{SELECT},severity="oversold"}})', "oversold")]),
            ("Refused and failed commands", "ops", [(rate("tally_commands_total", "topology", ',outcome="rejected"'), "{{topology}} rejected"),
                                                    (rate("tally_commands_total", "topology", ',outcome="reused"'), "{{topology}} key reused")]),
            ("Repeats answered from their outcome", "ops", [(rate("tally_commands_total", "topology", ',outcome="duplicate"'), "{{topology}}")]),
        ]),
    ]),
}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(number, at, title, unit, queries):
    targets = [{"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": query, "legendFormat": legend}
               for i, (query, legend) in enumerate(queries)]
    return {"id": number, "type": "timeseries", "title": title, "datasource": SOURCE, "targets": targets,
            "gridPos": {"x": at % 2 * 12, "y": at // 2 * 8, "w": 12, "h": 8},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 8, "showPoints": "never"}}, "overrides": []},
            "options": {"legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]},
                        "tooltip": {"mode": "multi", "sort": "desc"}}}


def variable(name, query, many):
    return {"name": name, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name}, "refresh": 2,
            "includeAll": many, "multi": many, "allValue": ".*" if many else None,
            "current": {"text": "All", "value": "$__all"} if many else {}}


def dashboard(uid, title, rows):
    panels, top = [], 0
    for name, row in rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": name, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        for at, (panel_title, unit, queries) in enumerate(row):
            made = panel(len(panels) + 1, at, panel_title, unit, queries)
            made["gridPos"]["y"] += top + 1
            panels.append(made)
        top += 1 + (len(row) + 1) // 2 * 8
    return {"uid": f"tally-{uid}", "title": title, "tags": ["tally"], "schemaVersion": 39, "version": 1, "editable": True,
            "timezone": "", "refresh": "10s", "time": {"from": "now-30m", "to": "now"}, "graphTooltip": 1,
            "links": [{"type": "dashboards", "tags": ["tally"], "title": "tally", "asDropdown": False}],
            "templating": {"list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "current": {}},
                variable("job", "label_values(tally_build_info, job)", False),
                variable("instance", 'label_values(tally_build_info{job="$job"}, instance)', True)]},
            "panels": panels}


def texts():
    """File name -> content."""
    return {f"{uid}.json": json.dumps(dashboard(uid, title, rows), indent=1) + "\n" for uid, (title, rows) in DASHBOARDS.items()}


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    for name, text in texts().items():
        (folder / name).write_text(text)
