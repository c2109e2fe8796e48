# shellcheck shell=bash disable=SC2034
# How the jobs of a recipe are started. Identical in every recipe (a link); choose the back-end with the environment:
#
#   cmd_backend=local ./run.sh ...     # this machine (the default)
#   cmd_backend=slurm ./run.sh ...     # sbatch
#
# A command is called as:  ${train_cmd} [--gpu N] [--num_threads N] [--num_nodes N] [JOB=1:4] LOG.JOB command ... JOB ...
# Partition, account and the like of slurm come from its own variables: export SBATCH_PARTITION=..., SBATCH_ACCOUNT=...

cmd_backend=${cmd_backend:-local}

case "${cmd_backend}" in
    local)
        train_cmd="${SITOK_ROOT}/local/launch_jobs.py --backend local"
        cuda_cmd=${train_cmd}
        decode_cmd=${train_cmd}
        ;;
    slurm)
        # The same program under another name: espnet2.bin.launch recognises slurm (several nodes) by this name only.
        train_cmd="${SITOK_ROOT}/local/slurm.pl --backend slurm --mem 16G"
        cuda_cmd="${SITOK_ROOT}/local/slurm.pl --backend slurm --mem 64G --cpus_per_gpu 8 --time 7-00:00:00"
        decode_cmd="${SITOK_ROOT}/local/slurm.pl --backend slurm --mem 16G"
        ;;
    *)
        echo "cmd.sh: error: cmd_backend=${cmd_backend} is not known: local or slurm" >&2
        exit 1
        ;;
esac
