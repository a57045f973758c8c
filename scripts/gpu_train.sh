#!/usr/bin/env bash
# gpu_train.sh MINUTES RECIPE [WEIGHTS]: train on sections 0-79 by the clock, from weights if given, and score 80-99 with one view.
#
# Needs the installed package, a GPU, and $NEUROPIL_DATA with snemi3d in it. Leaves in $OUT (default: outputs/gpu) the averaged
# weights, in pieces below 16 MiB where they are larger, and scores.json. Where images were stored with losses, measure again.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,5s/^# //p' "$0"; exit 2; }
minutes=$1 recipe=$2 weights=${3:-}
out=${OUT:-outputs/gpu}; data=${NEUROPIL_DATA:?set NEUROPIL_DATA to the folder that holds snemi3d}
image=$data/snemi3d/image.h5/main labels=$data/snemi3d/labels_z000-099.h5/main
mkdir -p "$out"
pairs="[{\"image\": \"$image\", \"labels\": \"$labels\", \"box\": \"0:80,:,:\"}]"
neuropil() { python3 -m neuropil "$@"; }
neuropil train "$recipe" --set "data.train=$pairs" --set "data.validation=[]" --set "training.minutes=$minutes" \
  --set "training.iterations=null" ${weights:+--pretrained "$weights"} --out "$out/run" ${GPU_TRAIN_SETS:-}
neuropil convert "$out/run/checkpoints/last.pt" "$out/weights.safetensors"
if [ "$(stat -c %s "$out/weights.safetensors")" -ge $((16 << 20)) ]; then
  split -b 15M -d "$out/weights.safetensors" "$out/weights.safetensors."  # cat weights.safetensors.* puts them together
  rm "$out/weights.safetensors"
fi
neuropil predict "$out/run/checkpoints/last.pt" "$image" -o "$out/run/affinities.zarr" --tta 1 --box "${SCORED:-80:100},:,:"
neuropil tune "$out/run/affinities.zarr" "$labels" -o "$out/run/tune" --metric voi
neuropil segment "$out/run/affinities.zarr" -o "$out/run/segmentation.h5" --config "$out/run/tune/segment.yaml"
neuropil evaluate "$out/run/segmentation.h5" "$labels" --json "$out/scores.json"
