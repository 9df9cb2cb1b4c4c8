#!/usr/bin/env bash
# Remake qgis.jpg, the picture of a QGIS window in README.md, without a screen:
#
#   make demo && docs/images/qgis.sh demo-output
#
# Needs QGIS, Xvfb (apt install qgis xvfb xauth), and the geoseg of .venv.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
demo="$(cd "${1:?name the folder of a demo}" && pwd)"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

mkdir -p "$scratch/run" "$scratch/QGIS/profiles/default"
chmod 700 "$scratch/run"
cp "$demo"/unseen.tif "$demo"/unseen.gpkg "$demo"/unseen_labels.* "$scratch"
export HOME="$scratch" XDG_RUNTIME_DIR="$scratch/run" QGIS_CUSTOM_CONFIG_PATH="$scratch/QGIS"
"$here/../../.venv/bin/python" -m geoseg qgis-install >"$scratch/log" 2>&1
export GEOSEG_SHOW="$scratch" GEOSEG_PICTURE="$here/qgis.jpg"
rm -f "$GEOSEG_PICTURE"
# its exit code says nothing: the picture does
timeout 120 xvfb-run -a -s '-screen 0 1240x760x24' \
    "$(command -v qgis.bin || command -v qgis)" --nologo --noversioncheck --code "$here/qgis.py" \
    >>"$scratch/log" 2>&1 || true
[ -s "$GEOSEG_PICTURE" ] || { tail -20 "$scratch/log" >&2; exit 1; }
echo "$GEOSEG_PICTURE"
