#!/bin/sh
# Makes .venv and installs what is needed, once: `setup.sh runtime` (no torch) or `setup.sh test` (everything).
# PYTHON chooses the interpreter, TORCH_INDEX the index that torch comes from.
# Exit status 3: something of the system is missing and could not be installed; one line says what.
set -eu
cd "$(dirname "$0")/.."
level=${1:?runtime or test}
venv=.venv
python=$venv/bin/python

fail() {
    echo "pain-monitor: $*" >&2
    exit 3
}

suitable() { # a Python of a supported version, whether or not it can make environments
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

apt_install() { # installs packages if this user may; 1 otherwise
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then
        as_root="sudo -n"
    else
        return 1
    fi
    echo "Installing $* with apt ..." >&2
    $as_root apt-get update -qq >&2 || true
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

choose_python() { # sets $base
    if [ -n "${PYTHON:-}" ]; then
        suitable "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13 that runs here"
        base=$PYTHON
    else
        base="" fallback=""
        for candidate in python3 python3.13 python3.12 python3.11 python; do
            suitable "$candidate" || continue
            fallback=${fallback:-$candidate}
            if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
                base=$candidate
                break
            fi
        done
        base=${base:-$fallback}
        [ -n "$base" ] || fail "Python 3.11, 3.12 or 3.13 is needed and none was found (PYTHON=... names one)"
    fi
    "$base" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    package="python$(version "$base")-venv"
    apt_install "$package" || fail "system package $package is missing (the venv module of $base)"
    "$base" -c 'import ensurepip, venv' >/dev/null 2>&1 || fail "$base still has no venv module after installing $package"
}

# An environment is good for exactly these inputs; their sums are its stamp. The folder is one of them, since an
# environment that was moved or copied does not work.
runtime_stamp=$(pwd | cat - pyproject.toml scripts/setup.sh | cksum)
test_stamp="$runtime_stamp torch from ${TORCH_INDEX:-the default index}"
[ "$level" = test ] && stamp=$test_stamp || stamp=$runtime_stamp
usable() {
    suitable "$python" && "$python" -c 'import pip' >/dev/null 2>&1 || return 1
    [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON" 2>&1)" = "$(version "$python")" ]
}
if usable; then
    [ "$(cat "$venv/.stamp-$level" 2>/dev/null)" != "$stamp" ] || exit 0
else
    choose_python
    echo "Making $venv with Python $(version "$base") ..." >&2
    rm -rf "$venv"
    "$base" -m venv "$venv" >&2 || fail "$base -m venv failed (see above)"
fi
rm -f "$venv/.stamp-$level"

pip() {
    "$python" -m pip install --quiet --quiet --disable-pip-version-check "$@" >&2
}
if [ "$level" = test ]; then
    echo "Installing the test and training packages, torch among them (several minutes the first time) ..." >&2
    # torch alone from its index, what it depends on from the default one.
    if [ -n "${TORCH_INDEX:-}" ]; then
        pip --no-deps --index-url "$TORCH_INDEX" 'torch==2.13.*'
    else
        pip 'torch==2.13.*'
    fi
    pip --editable '.[test,train]'
else
    echo "Installing the runtime packages (a minute or two the first time) ..." >&2
    pip --editable .
fi

# Where pylsl has no wheel with liblsl inside, the library must come from the system.
if ! "$python" -c 'import pylsl' >/dev/null 2>&1; then
    apt_install liblsl || fail "the LSL library is missing: install liblsl (github.com/sccn/liblsl/releases)"
    "$python" -c 'import pylsl' >/dev/null 2>&1 || fail "liblsl was installed but pylsl does not find it (set PYLSL_LIB)"
fi

# What a window needs of the system. Without it the monitor runs headless, and says so.
qt_libraries="libgl1 libegl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0"
xcb_libraries="libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-image0 libxcb-render-util0 libxcb-shape0"
xcb_libraries="$xcb_libraries libxcb-randr0 libxcb-xkb1 libxkbcommon-x11-0"
qt_starts() {
    [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && platform= || platform=offscreen
    env ${platform:+QT_QPA_PLATFORM=$platform} "$python" -c 'from PySide6.QtWidgets import QApplication; QApplication([])' \
        >/dev/null 2>&1
}
if ! qt_starts; then
    # shellcheck disable=SC2086
    apt_install $qt_libraries $xcb_libraries || true
    if ! qt_starts; then
        missing="the dashboard needs these system packages (Debian names): $qt_libraries $xcb_libraries"
        [ "$level" = runtime ] || fail "$missing"
        echo "pain-monitor: $missing" >&2
    fi
fi
if [ "$level" = test ] && ! command -v xvfb-run >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    apt_install xvfb xauth $xcb_libraries || echo "xvfb is not installed: the live test under an X server is skipped" >&2
fi

# Alarms are heard through PortAudio. Without it they are seen and sent, and the monitor says so.
if [ "$level" = test ] && ! "$python" -c 'import sounddevice' >/dev/null 2>&1; then
    apt_install libportaudio2 || echo "libportaudio2 is not installed: no alarm can be heard on this machine" >&2
fi

# The live tests of MQTT need a broker. Without one they are skipped, and on CI they fail.
if [ "$level" = test ] && ! PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mosquitto_pub >/dev/null 2>&1; then
    apt_install mosquitto mosquitto-clients || echo "mosquitto is not installed: the live tests of MQTT are skipped" >&2
fi

printf '%s' "$runtime_stamp" >"$venv/.stamp-runtime"
printf '%s' "$stamp" >"$venv/.stamp-$level"
