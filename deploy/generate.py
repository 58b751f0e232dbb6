"""Writes the dashboards of deploy/grafana: `python -m deploy.generate`, or `--check` for drift."""

import json
import sys
from pathlib import Path
from typing import Any

from deploy.grafana.dashboards import DASHBOARDS, Dashboard, Panel, written

FOLDER = Path(__file__).parent / "grafana"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 2


def dashboard_json(dashboard: Dashboard) -> str:
    """A dashboard as Grafana 10 and newer import it."""
    panels = [_panel(number, panel) for number, panel in enumerate(dashboard.panels)]
    whole = {
        "uid": f"triton-gateway-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["triton-gateway"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [_links()],
        "templating": {"list": _variables(dashboard)},
        "panels": panels,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.meaning,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"},
                    "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": written(query),
             "legendFormat": legend}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def _links() -> dict[str, Any]:
    return {
        "type": "dashboards", "tags": ["triton-gateway"], "title": "Gateway", "asDropdown": True,
        "keepTime": True,
    }  # fmt: skip


def _variables(dashboard: Dashboard) -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource",
              "query": "prometheus"}  # fmt: skip
    if not dashboard.by_model:
        return [source]
    model = {
        "name": "model", "label": "Model", "type": "query", "datasource": _SOURCE,
        "query": "label_values(gateway_requests_total, model)", "refresh": 2,
        "includeAll": True, "allValue": ".*", "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip
    return [source, model]


def main() -> int:
    """Writes or checks every dashboard; returns how many differed in a check."""
    stale = []
    for dashboard in DASHBOARDS:
        path, text = FOLDER / f"{dashboard.name}.json", dashboard_json(dashboard)
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.stderr.write(f"error: out of date: {', '.join(stale)}\nhint: make docs\n")
    return len(stale)


if __name__ == "__main__":
    sys.exit(main())
