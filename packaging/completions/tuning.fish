
# What clap does not know: which files are images, and which devices can be written to.

# Files whose names match a pattern, and directories; all files if there are none of these.
function __fish_bmaptool_files -a pattern
    set -l files (__fish_complete_path (string replace -r -- '^--[a-z-]+=' '' (commandline -ct)))
    set -l matches (string match -r -- "^[^\t]*(?:/|$pattern)(?:\t.*)?\$" $files)
    or set matches $files
    printf '%s\n' $matches
end

# The devices that are listed: removable ones, else any disk.
function __fish_bmaptool_devices
    for list in list 'list --all'
        set -l devices (bmaptool (string split ' ' $list) 2>/dev/null | string match -r '^/dev/\S+')
        set -l fitting (string match -- (commandline -ct)'*' $devices)
        and printf '%s\tblock device\n' $fitting
        and return
    end
end

# Whether exactly this many words after the command, or with '+' at least so many, are neither options nor their values.
function __fish_bmaptool_after -a command count
    set -l words (commandline -opc)
    set -e words[1]
    argparse -i q/quiet d/debug o/output= bmap= bmap-sig= keyring= fingerprint= header= cacert= unmapped= psplash-pipe= range-size= map= -- $words 2>/dev/null
    or return
    set -l words (string match -v -- '-?*' $argv)
    set -l compare -eq
    string match -q '*+' $count
    and set compare -ge
    test "$words[1]" = $command -a (count $words) $compare (math 1 + (string trim -r -c + $count))
end

set -l images '\.(?:@IMAGE_ENDINGS@)'
complete -c bmaptool -n "__fish_bmaptool_after create 0" -k -f -a "(__fish_bmaptool_files '$images')"
complete -c bmaptool -n "__fish_bmaptool_after copy 0" -k -f -a "(__fish_bmaptool_files '$images')"
complete -c bmaptool -n "__fish_bmaptool_after copy 1+" -F -a "(__fish_bmaptool_devices)"
complete -c bmaptool -n "__fish_bmaptool_after verify 0" -k -f -a "(__fish_bmaptool_files '$images')"
complete -c bmaptool -n "__fish_bmaptool_after verify 0" -a "(__fish_bmaptool_devices)"
complete -c bmaptool -n "__fish_bmaptool_after info 0" -k -f -a "(__fish_bmaptool_files '$images')"
complete -c bmaptool -n "__fish_bmaptool_after info 0" -a "(__fish_bmaptool_devices)"
complete -c bmaptool -n "__fish_bmaptool_using_subcommand copy; or __fish_bmaptool_using_subcommand verify; or __fish_bmaptool_using_subcommand info" -l bmap -r -f -a "(__fish_bmaptool_files '\.bmap(?:\..*)?')"
complete -c bmaptool -n "__fish_bmaptool_using_subcommand copy; or __fish_bmaptool_using_subcommand verify; or __fish_bmaptool_using_subcommand info" -l bmap-sig -r -f -a "(__fish_bmaptool_files '\.(?:asc|sig|gpg)')"
complete -c bmaptool -n "__fish_bmaptool_using_subcommand copy; or __fish_bmaptool_using_subcommand verify; or __fish_bmaptool_using_subcommand info" -l keyring -r -f -a "(__fish_bmaptool_files '\.(?:gpg|kbx|asc|pgp)')"
complete -c bmaptool -n "__fish_bmaptool_using_subcommand copy; or __fish_bmaptool_using_subcommand verify; or __fish_bmaptool_using_subcommand info" -l cacert -r -f -a "(__fish_bmaptool_files '\.(?:pem|crt|cer)')"
