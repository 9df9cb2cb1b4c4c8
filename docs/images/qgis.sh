#!/usr/bin/env bash
# Render qgis.jpg, the screenshot of QGIS in README.md, without a display:
#
#   make demo && docs/images/qgis.sh demo-output
#
# Requires QGIS and Xvfb (apt install qgis xvfb xauth), and geoseg in .venv.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
demo="$(cd "${1:?usage: qgis.sh DEMO_FOLDER}" && pwd)"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

mkdir -p "$scratch/run" "$scratch/QGIS/profiles/default"
chmod 700 "$scratch/run"
cp "$demo"/unseen.tif "$demo"/unseen.gpkg "$demo"/unseen_labels.* "$scratch"
export HOME="$scratch" XDG_RUNTIME_DIR="$scratch/run" QGIS_CUSTOM_CONFIG_PATH="$scratch/QGIS"
"$here/../../.venv/bin/python" -m geoseg qgis-install >"$scratch/log" 2>&1
export GEOSEG_SHOW="$scratch" GEOSEG_PICTURE="$here/qgis.jpg"
rm -f "$GEOSEG_PICTURE"
# QGIS exits with an error even on success, so test for the picture instead
timeout 120 xvfb-run -a -s '-screen 0 1240x760x24' \
    "$(command -v qgis.bin || command -v qgis)" --nologo --noversioncheck --code "$here/qgis.py" \
    >>"$scratch/log" 2>&1 || true
[ -s "$GEOSEG_PICTURE" ] || { tail -20 "$scratch/log" >&2; exit 1; }
echo "$GEOSEG_PICTURE"
