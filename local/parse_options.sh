# shellcheck shell=bash
# Sourced after the options of a script have got their default values: `--name value` sets the variable `name`.
#
# Only a variable that is already set is an option; the rest is an error, so that a misspelt option never passes.
# `--some-name` is `some_name`. Where the default is true or false, the value must be true or false.
# `--help` prints the variable `help_message` where the script has one. What follows the options stays in "$@".

while [ $# -gt 0 ]; do
    case "$1" in
        --help | -h)
            printf '%s\n' "${help_message:-$0: options are the variables at the top of the script, as --name value}"
            exit 0
            ;;
        --*)
            _option=${1#--}
            if [[ ${_option} == *=* ]]; then
                echo "$0: error: write '--${_option%%=*} VALUE' instead of '$1'" >&2
                exit 2
            fi
            _option=${_option//-/_}
            if [[ ! ${_option} =~ ^[a-z][a-z0-9_]*$ ]] || [ -z "${!_option+set}" ]; then
                echo "$0: error: unknown option $1 (see $0 --help)" >&2
                exit 2
            fi
            if [ $# -lt 2 ]; then
                echo "$0: error: option $1 needs a value" >&2
                exit 2
            fi
            if [[ ${!_option} =~ ^(true|false)$ ]] && [[ ! $2 =~ ^(true|false)$ ]]; then
                echo "$0: error: option $1 is true or false, not '$2'" >&2
                exit 2
            fi
            printf -v "${_option}" '%s' "$2"
            shift 2
            ;;
        *) break ;;
    esac
done
unset _option
