
# What clap does not know: which files are images, and which devices can be written to.

# Offers directories, and the files whose names match a pattern.
_bmaptool_files() {
    local pattern=$1 file
    while IFS= read -r file; do
        if [[ -d ${file/#\~/$HOME} || $file == $pattern ]]; then
            COMPREPLY+=("$file")
        fi
    done < <(compgen -f -- "$cur")
    compopt -o filenames
}

# Offers the devices that are listed: removable ones, else any disk; where none fits, any file.
_bmaptool_targets() {
    local device all
    for all in '' --all; do
        while IFS= read -r device; do
            if [[ $device == "$cur"* ]]; then
                COMPREPLY+=("$device")
            fi
        done < <(bmaptool list $all 2>/dev/null | sed -n 's|^\(/dev/[^ ]*\) .*|\1|p')
        if ((${#COMPREPLY[@]})); then
            return
        fi
    done
    if ((${#COMPREPLY[@]} == 0)); then
        _bmaptool_files '*'
    fi
}

# Offers images, and devices for a word that begins like one.
_bmaptool_verified() {
    if [[ $cur == /dev/* ]]; then
        _bmaptool_targets
    else
        _bmaptool_files "$1"
    fi
}

_bmaptool_tuned() {
    local cur=$2 prev=$3 images='*.@(@IMAGE_ENDINGS@)'
    COMPREPLY=()
    # '--bmap=disk' comes as three words.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
        --bmap) _bmaptool_files '*.bmap?(.*)'; return ;;
        --bmap-sig) _bmaptool_files '*.@(asc|sig|gpg)'; return ;;
        --keyring) _bmaptool_files '*.@(gpg|kbx|asc|pgp)'; return ;;
        --cacert) _bmaptool_files '*.@(pem|crt|cer)'; return ;;
        --fingerprint | --header | --range-size | --map) return ;;
    esac
    if [[ $cur == -* || $prev == @(-o|--output|--psplash-pipe|--unmapped) ]]; then
        _bmaptool "$@"
        return
    fi
    # How many words between the command and the cursor are neither options nor their values.
    local index word command= count=0
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        case $word in
            --bmap | --bmap-sig | --keyring | --fingerprint | --header | --cacert | --unmapped | --psplash-pipe | --output | -o | \
                --range-size | --map)
                [[ ${COMP_WORDS[index + 1]} == = ]] && ((index++))
                ((index++))
                ;;
            -?*) ;;
            *) if [[ $command ]]; then ((count++)); else command=$word; fi ;;
        esac
    done
    case $command,$count in
        create,0 | copy,0) _bmaptool_files "$images" ;;
        copy,*) _bmaptool_targets ;;
        verify,0 | info,0) _bmaptool_verified "$images" ;;
        ,*) _bmaptool "$@" ;;
    esac
}

complete -F _bmaptool_tuned -o bashdefault -o default bmaptool
