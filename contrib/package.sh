#!/usr/bin/env bash
# Makes TARGET/package: conductor-VERSION-ARCH-linux.tar.gz, conductor_VERSION_ARCH.deb and SHA256SUMS. The programs in them stand alone:
# they need no library of the machine. `make package` calls this.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${1:?usage: contrib/package.sh TARGET_DIRECTORY}")
command -v dpkg-deb >/dev/null || { echo 'dpkg-deb is missing: apt-get install -y dpkg' >&2; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
machine=$(uname -m)
case $machine in x86_64) debian=amd64 ;; aarch64) debian=arm64 ;; *) debian=$machine ;; esac
triple=$machine-unknown-linux-gnu

# The same bytes wherever and whenever they are made, as in the Makefile.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export SOURCE_DATE_EPOCH=315532800
export CFLAGS="-DMI_DEFAULT_ARENA_EAGER_COMMIT=0 -ffile-prefix-map=$PWD=/conductor -ffile-prefix-map=$cargo_home=/cargo"
export RUSTFLAGS="--remap-path-prefix=$PWD=/conductor --remap-path-prefix=$cargo_home=/cargo -C target-feature=+crt-static -C relocation-model=static"
cargo build --profile dist --locked -p conductor --target "$triple" --target-dir "$target/static"
built=$target/static/$triple/dist

out=$target/package
rm -rf "$out"
mkdir -p "$out"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# The tree of the .deb; the tarball has the same files.
install -Dm 755 -t "$root/usr/bin" "$built/conductor" "$built/conductor-shim"
install -Dm 644 -t "$root/usr/share/doc/conductor" README.md CHANGELOG.md SECURITY.md
install -Dm 644 LICENSE "$root/usr/share/doc/conductor/copyright"
mkdir -p "$root/lib/systemd/system" "$root/usr/share/man/man1" "$root/DEBIAN"
for unit in contrib/conductor.service contrib/conductor-http.socket; do
    sed -e 's#/usr/local/bin/#/usr/bin/#g' -e '/^# Install as /d' "$unit" >"$root/lib/systemd/system/$(basename "$unit")"
done
"$built/conductor" manual "$root/usr/share/man/man1"
gzip -9n "$root"/usr/share/man/man1/*.1
complete() { mkdir -p "$(dirname "$root/usr/share/$2")"; "$built/conductor" completions "$1" >"$root/usr/share/$2"; }
complete bash bash-completion/completions/conductor
complete zsh zsh/vendor-completions/_conductor
complete fish fish/vendor_completions.d/conductor.fish

cat >"$root/DEBIAN/control" <<END
Package: conductor
Version: $version
Architecture: $debian
Maintainer: Conductor <conductor@localhost>
Section: admin
Priority: optional
Suggests: docker.io | podman
Description: containers, functions and jobs on the servers you have
 One binary that runs programs and images as Services on this machine, behind an
 API shaped like Kubernetes', and replaces them without failing a request.
END
printf '#!/bin/sh\nset -e\nif [ -d /run/systemd/system ]; then systemctl daemon-reload; fi\n' >"$root/DEBIAN/postinst"
printf '#!/bin/sh\nset -e\nif [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl disable --now conductor.service; fi\n' >"$root/DEBIAN/prerm"
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"
find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --build "$root" "$out/conductor_${version}_$debian.deb" >/dev/null
tar -C "$root" --exclude ./DEBIAN --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    --transform "s#^\.#conductor-$version#" -cf - . | gzip -9n >"$out/conductor-$version-$machine-linux.tar.gz"
(cd "$out" && sha256sum -- *.deb *.tar.gz >SHA256SUMS)
ls -l "$out"
