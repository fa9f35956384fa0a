
# What clap does not know: which files are images, and which devices can be written to.

_bmaptool_images() {
    _files -g '*.(@IMAGE_ENDINGS@)(-.)'
}

_bmaptool_bmaps() {
    _files -g '*.bmap(|.*)(-.)'
}

_bmaptool_signatures() {
    _files -g '*.(asc|sig|gpg)(-.)'
}

_bmaptool_keyrings() {
    _files -g '*.(gpg|kbx|asc|pgp)(-.)'
}

_bmaptool_certificates() {
    _files -g '*.(pem|crt|cer)(-.)'
}

# The devices that are listed: removable ones, else any disk.
_bmaptool_targets() {
    local -a devices
    local all
    for all in '' --all; do
        devices=(${(M)${(f)"$(bmaptool list $=all 2>/dev/null | sed -n 's|^\(/dev/[^ ]*\) .*|\1|p')"}:#$PREFIX*})
        if (($#devices)); then
            break
        fi
    done
    _alternative 'devices:block device:compadd -a devices' 'files:file:_files'
}

# Images, and devices for a word that begins like one.
_bmaptool_verified() {
    if [[ $PREFIX == /dev/* ]]; then
        _bmaptool_targets
    else
        _bmaptool_images
    fi
}
