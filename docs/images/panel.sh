#!/usr/bin/env bash
# Run the panel of the QGIS plugin from an empty project to a corrected model, without a display, and save
# screenshots of each stage to a folder:
#
#   docs/images/panel.sh FOLDER
#
# Requires QGIS and Xvfb (apt install qgis xvfb xauth), and geoseg in .venv or GEOSEG_TEST_PYTHON. GEOSEG_MINUTES is the
# time limit of each training.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
python="${GEOSEG_TEST_PYTHON:-$root/.venv/bin/python}"
mkdir -p "${1:?usage: panel.sh FOLDER}"
pictures="$(cd "$1" && pwd)"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

mkdir -p "$scratch/run" "$scratch/QGIS/profiles/default/QGIS" "$scratch/QGIS/profiles/default/python/plugins"
chmod 700 "$scratch/run"
cp -r "$root/qgis_plugin/geoseg_qgis" "$scratch/QGIS/profiles/default/python/plugins/"
printf '[PythonPlugins]\ngeoseg_qgis=true\n' >"$scratch/QGIS/profiles/default/QGIS/QGIS3.ini"
printf '#!/bin/sh\nshift\nPYTHONPATH=%s exec %s "$@"\n' "$root" "$python" >"$scratch/python" # without -I
chmod +x "$scratch/python"
PYTHONPATH="$root" "$python" "$here/panel_scene.py" "$scratch"

export HOME="$scratch" XDG_RUNTIME_DIR="$scratch/run" QGIS_CUSTOM_CONFIG_PATH="$scratch/QGIS"
export GEOSEG_SHOW="$scratch" GEOSEG_PICTURES="$pictures" GEOSEG_PYTHON="$scratch/python"
cd "$scratch"  # a checkout in the current folder would be imported first
timeout "${GEOSEG_TIMEOUT:-3000}" xvfb-run -a -s '-screen 0 1300x960x24' \
    "$(command -v qgis.bin || command -v qgis)" --nologo --noversioncheck --code "$here/panel.py" \
    >"$pictures/log" 2>&1 || { tail -30 "$pictures/log" >&2; exit 1; }
grep -E '^([0-9]+ |done)' "$pictures/log"
ls "$pictures"
