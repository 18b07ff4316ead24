#!/bin/bash
# Tries the systemd service for real: `sudo scripts/try_service.sh` (three minutes). Starts a systemd of its own in
# namespaces of its own, with its own /etc, /var and network, installs the service there as docs/service.md says, and
# lets a simulated patient, a webhook and a key do what they do. Nothing of this system is written to or restarted.
# Exit status 0: all held; 1: something did not; 3: it cannot be tried here, and why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# -- inside: the first process of the namespaces builds a root folder and becomes systemd ----------------------------

if [ "${1:-}" = boot ]; then
    root=$2 base=$3 site=$4
    mount -t tmpfs -o mode=755 tmpfs "$root"
    cd "$root"
    mkdir -p usr etc var/{lib,log,tmp,cache} run tmp proc sys dev root home opt/{python,site,source,pain/bin}
    chmod 700 root && chmod 1777 tmp var/tmp
    for link in bin sbin lib lib64; do ln -s usr/$link $link; done
    bind() { mount --bind "$1" "$2" && mount -o remount,ro,bind "$2"; }
    bind /usr usr && bind "$base" opt/python && bind "$site" opt/site && bind "$here" opt/source
    for known in passwd group nsswitch.conf alternatives dbus-1 ssl/certs ssl/openssl.cnf ld.so.conf ld.so.conf.d; do
        [ ! -e /etc/$known ] || { mkdir -p "etc/$(dirname $known)" && cp -a /etc/$known etc/$known; }
    done
    : >etc/machine-id && : >etc/fstab && echo service >etc/hostname
    echo /opt/python/lib >etc/ld.so.conf.d/000-python.conf
    # An environment outside of home folders, as a service wants it.
    python=python$("$base/bin/python3" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    ln -s "/opt/python/bin/$python" opt/pain/bin/python
    mkdir -p "opt/pain/lib/$python/site-packages"
    printf 'home = /opt/python/bin\n' >opt/pain/pyvenv.cfg
    printf '/opt/source\n/opt/site\n' >"opt/pain/lib/$python/site-packages/monitor.pth"
    printf '#!/bin/sh\nexec /opt/pain/bin/python -m monitor.cli "$@"\n' >opt/pain/bin/pain-monitor
    chmod 755 opt/pain/bin/pain-monitor
    mount -t proc -o nosuid,nodev,noexec proc proc
    bind proc/sys proc/sys
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755,nosuid tmpfs dev
    for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 dev/${node%:*} c 1 ${node#*:}; done
    mknod -m 666 dev/tty c 5 0
    mkdir -m 1777 dev/shm && mkdir dev/pts
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
    ln -s pts/ptmx dev/ptmx && ln -s /proc/self/fd dev/fd && : >dev/console
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
    ip link set lo up multicast on
    ip route add 224.0.0.0/4 dev lo
    hostname service
    mkdir old && pivot_root . old && cd / && umount -l old && rmdir old
    mount --make-rshared / # else credentials do not reach services
    ldconfig
    without=-sys_module,-sys_rawio,-sys_boot,-sys_time
    exec setpriv --bounding-set=$without --inh-caps=$without env -i container=try PATH=/usr/sbin:/usr/bin \
        /usr/lib/systemd/systemd --system --unit=basic.target --show-status=no --log-target=null </dev/null >/dev/null 2>&1
fi

# -- outside: the namespaces, and what is done in them ---------------------------------------------------------------

cannot() { echo "cannot be tried here: $*" >&2 && exit 3; }
[ "$(id -u)" = 0 ] || cannot "it needs root, for namespaces"
[ -x /usr/lib/systemd/systemd ] || cannot "there is no systemd"
[ -L /bin ] || cannot "/bin is not in /usr"
[ -x "$here/.venv/bin/python" ] || cannot "there is no .venv; run make setup"
groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$groups" ] || cannot "there are no control groups of version 2"
read -r base site < <("$here/.venv/bin/python" -c '
import sys, sysconfig; print(sys.base_prefix, sysconfig.get_path("purelib"))')

scratch=$(mktemp -d)
group=$groups/try-pain-monitor-$$
outer=
finish() {
    [ -z "$outer" ] || { kill -9 "$outer" && wait "$outer"; } 2>/dev/null || true
    for _ in $(seq 50); do # its processes are gone a moment later
        [ -d "$group" ] || break
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || sleep 0.2
    done
    rmdir "$scratch" # a file system that was mounted there is gone with the namespace
}
trap finish EXIT
mkdir "$group"
(
    echo $BASHPID >"$group/cgroup.procs"
    exec unshare --fork --pid --mount --uts --ipc --net --cgroup --kill-child --propagation private \
        "$here/scripts/try_service.sh" boot "$scratch" "$base" "$site"
) &
outer=$!
until init=$(pgrep -P "$outer") && [ "$(cat "/proc/$init/comm")" = systemd ]; do
    kill -0 "$outer" 2>/dev/null || cannot "the namespaces cannot be made (see above)"
    sleep 0.2
done
shell() {
    nsenter -t "$init" -m -p -u -i -n -C --root="/proc/$init/root" --wdns=/ \
        env -i PATH=/usr/sbin:/usr/bin HOME=/root bash -c "$1"
}
failed=0
until_true() { # seconds, what holds, a command
    for _ in $(seq "$1"); do
        if shell "$3" >/dev/null 2>&1; then echo "ok      $2" && return; fi
        sleep 1
    done
    echo "FAILED  $2" && failed=1
    shell 'journalctl -u pain-monitor --no-pager -n 15' || true
}
holds() { until_true 1 "$@"; }
show() { shell "systemctl show -P $1 pain-monitor"; }
until_true 60 "systemd has started" 'systemctl is-system-running | grep -E "running|degraded"'

shell '
set -e
mkdir -p /etc/pain-monitor/clients /etc/credstore && chmod 700 /etc/credstore && cd /etc/pain-monitor
cat >config.toml <<TOML
[webhook]
url = "http://127.0.0.1:8080/"
[jsonlog]
path = "/var/log/pain-monitor/events.jsonl"
[link]
listen = "tcp://127.0.0.1:5560"
clients = "/etc/pain-monitor/clients"
[[bed]]
name = "bed1"
calibration_s = 30.0
[bed.alarm]
moderate_on = 20.0
moderate_off = 5.0
moderate_after_s = 2.0
[[bed.stream]]
name = "Synthetic EDA"
modality = "EDA"
[[bed.stream]]
name = "Synthetic ECG"
modality = "ECG"
TOML
for name in engine nurse; do /opt/pain/bin/pain-monitor keys $name --folder /root/$name; done
cp /root/nurse/nurse.pub clients/ && cp /root/engine/engine.key /etc/credstore/pain-monitor.link-key
(umask 077 && head -c 24 /dev/urandom | od -An -tx1 | tr -d " \n" >/etc/credstore/pain-monitor.webhook-key)
cat >/root/receiver.py <<PYTHON
import http.server
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8080), Receiver).serve_forever()
PYTHON
systemd-run -q --unit=receiver /opt/pain/bin/python /root/receiver.py
systemd-run -q --unit=patient -p User=nobody -p Restart=always -E HOME=/tmp \
    /opt/pain/bin/pain-monitor stream synthetic --lsl --rest 40
/opt/pain/bin/pain-monitor install-service /etc/pain-monitor/config.toml
systemd-sysusers && systemctl daemon-reload && systemctl enable --quiet --now pain-monitor.service
'
holds "it is active as soon as it says READY" 'systemctl is-active pain-monitor'
holds "systemctl status says what is monitored" 'systemctl status pain-monitor | grep "Status: \"Monitoring bed1. RESEARCH USE ONLY"'
until_true 30 "every route is proved" 'journalctl -u pain-monitor | grep "self-check passed: .*webhook-bed1"'
until_true 60 "scores come" 'journalctl -u pain-monitor | grep -E "index +~? *[0-9]+"'
main=$(show MainPID) engine=$(shell 'pgrep -P $(systemctl show -P MainPID pain-monitor)')
holds "no capabilities, no new rights, filtered system calls, its own user" "cd /proc/$engine &&
    [ \$(grep -cE 'CapEff:.0+\$|CapBnd:.0+\$|NoNewPrivs:.1|Seccomp:.2' status) = 4 ] && [ \$(stat -c %U .) = pain-monitor ]"
as_it="nsenter -t $engine -m setpriv --reuid pain-monitor --regid pain-monitor --clear-groups"
as_it+=" --bounding-set=-all --inh-caps=-all"
holds "it cannot write to /etc, not even as root" "! nsenter -t $engine -m touch /etc/x"
holds "it cannot read /root or the secrets of others" "! $as_it ls /root && ! $as_it cat /etc/credstore/pain-monitor.webhook-key"
holds "it can write to its own folder" "$as_it sh -c 'touch /var/lib/pain-monitor/x && rm /var/lib/pain-monitor/x'"
holds "who has a key is answered over TCP" '/opt/pain/bin/pain-monitor status --engine tcp://127.0.0.1:5560 \
    --key /root/nurse/nurse.key --engine-key /root/engine/engine.pub'
until_true 90 "an alarm is raised" 'grep pain_moderate /var/log/pain-monitor/events.jsonl'
alarm=$(shell 'grep pain_moderate /var/log/pain-monitor/events.jsonl | grep -o "\"event_id\":\"[^\"]*" | tail -n 1')

shell "kill -9 $engine"
until_true 10 "systemctl status says that nothing is monitored" 'systemctl show -P StatusText pain-monitor | grep "Not monitoring"'
until_true 60 "an engine that is killed comes again" 'systemctl show -P StatusText pain-monitor | grep "^Monitoring"'
holds "and the supervisor is the same" "[ \$(systemctl show -P MainPID pain-monitor) = $main ]"
restarts="journalctl -u pain-monitor | grep -c 'failed and was restarted'"
shell "kill -9 $main"
until_true 90 "a supervisor that is killed comes again" \
    '[ $(systemctl show -P NRestarts pain-monitor) = 1 ] && systemctl is-active pain-monitor'
until_true 20 "and its alarm with it, under its id" "[ \$($restarts) -ge 2 ] && tail -n 8 /var/log/pain-monitor/events.jsonl |
    grep '\"condition\":\"pain_moderate\"' | grep '$alarm'"
shell 'kill -STOP $(systemctl show -P MainPID pain-monitor)'
until_true 90 "a supervisor that hangs is ended by the watchdog and comes again" \
    '[ $(systemctl show -P NRestarts pain-monitor) = 2 ] && systemctl is-active pain-monitor'
holds "secrets are in no log, file or variable" '
    key=$(grep -oE "secret = \"[^\"]+" /root/engine/engine.key | cut -c 11-)
    for secret in "$(cat /etc/credstore/pain-monitor.webhook-key)" "$key"; do
        [ ${#secret} -ge 40 ] && ! journalctl -a -o export | grep -qF -- "$secret" &&
        ! grep -rqF -- "$secret" /var /tmp /run/systemd && ! cat /proc/[0-9]*/environ | grep -qaF -- "$secret" &&
        ! systemctl show pain-monitor | grep -qF -- "$secret" || exit 1
    done'
shell 'timeout 60 systemctl stop pain-monitor' || true
holds "it ends in order when it is stopped" 'journalctl -u pain-monitor -n 20 | grep "the engine has stopped" &&
    [ $(systemctl show -P ActiveState pain-monitor) = inactive ] && [ $(systemctl show -P ExecMainStatus pain-monitor) = 0 ]'
shell 'echo "[nonsense]" >>/etc/pain-monitor/config.toml; systemctl reset-failed; systemctl start pain-monitor' 2>/dev/null || true
sleep 7
holds "after a mistake in the configuration it stays down" '[ $(systemctl show -P ActiveState pain-monitor) = failed ] &&
    [ $(systemctl show -P NRestarts pain-monitor) = 0 ]'
shell 'systemd-analyze security --no-pager pain-monitor | tail -n 1' || true
exit $failed
