
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

# Disks that hold something, and their partitions.
_bmaptool_targets() {
    local -a devices
    local entry
    for entry in /sys/class/block/(sd|vd|xvd|nvme|mmcblk|loop)*(N); do
        if [[ -b /dev/$entry:t && $(<$entry/size) != 0 ]]; then
            devices+=(/dev/$entry:t)
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
