#!/usr/bin/env bash
# Many runs of scgan_nb on one node of a SLURM cluster. Adapt the lines marked <-, then: sbatch THIS_FILE
# The same file again goes on: what has a result is not run again, and training resumes from its last checkpoint.
#SBATCH --job-name=scgan_nb
#SBATCH --time=24:00:00              # <- for all runs together
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8            # <- runs at the same time times CPUs of each
#SBATCH --mem=32G                    # <-
##SBATCH --partition=gpu             # <- remove one # to use it
##SBATCH --gres=gpu:1                # <- for GPUs, with the extra gpu; then give --gpus 0 below
#SBATCH --output=scgan_nb-%j.log
set -euo pipefail

# <- an environment with scgan_nb[cpu,scale], for example:
# source "$HOME/scgan/bin/activate"
# caches on the node, not in a home that many nodes share
export NUMBA_CACHE_DIR="${TMPDIR:-/tmp}/numba-$USER" MPLCONFIGDIR="${TMPDIR:-/tmp}/matplotlib-$USER"
cpus=${SLURM_CPUS_PER_TASK:-8}
jobs=2 # <- runs at the same time
export OMP_NUM_THREADS=$((cpus / jobs)) TF_NUM_INTRAOP_THREADS=$((cpus / jobs))

# <- what to run: scgan_nb runs --help
scgan_nb runs train --out "$PWD/runs/many" \
    --vary preset counts minutes --seeds 5 \
    --jobs "$jobs" --retries 1
