#!/bin/bash
# Input that is wrong, damaged, foreign or hostile: a clear message, the documented exit code, and nothing
# written where it should not be.
source "$(dirname "$0")/lib.sh"

# gives CODE PATTERN COMMAND...: the exit code, and what standard error says.
gives() {
    local want=$1 pattern=$2 code=0
    shift 2
    timeout 60 "$@" >"$T/out" 2>"$T/err" || code=$?
    [ "$code" = "$want" ] || fail "$*: exit code $code, want $want: $(head -c 600 "$T/err")"
    has "$*" "$(cat "$T/err" "$T/out")" "$pattern"
    # A panic of ours is never the answer.
    lacks "$*" "$(cat "$T/err")" 'panicked at|RUST_BACKTRACE'
    checks=$((checks + 1))
}
checks=0
L=$LASTGASP

# --- configs. Each mistake is named with file and line, and with what to do.

bad() { # bad PATTERN <<config
    cat >"$T/bad.toml"
    gives 2 "$1" "$L" --config "$T/bad.toml" config check
    # The same file stops every command that needs it.
    gives 2 "$1" "$L" --config "$T/bad.toml" snap
    gives 2 "$1" "$L" --config "$T/bad.toml" watch
}
bad 'bad\.toml:2.*|intervall.*interval' <<<$'[[probe]]\nintervall = "5s"\nname = "a"\ntarget = "tcp:127.0.0.1:1"'
has "a misspelt key" "$(cat "$T/err")" 'interval'
bad 'gopher' <<<$'[[probe]]\nname = "a"\ntarget = "gopher://127.0.0.1/"'
bad '5 parsecs|duration' <<<$'[incident]\ncooldown = "5 parsecs"'
bad 'max_count|whole number' <<<$'[store]\nmax_count = -1'
bad 'relative|absolute' <<<$'[[console]]\npath = "console.log"'
bad 'regular expression|unclosed|paren' <<<$'[[probe]]\nname = "a"\ntarget = "http://127.0.0.1/"\nbody = "("'
bad 'twice|name|each' <<<$'[[probe]]\nname = "a"\ntarget = "tcp:127.0.0.1:1"\n[[probe]]\nname = "a"\ntarget = "tcp:127.0.0.1:2"'
bad 'bad\.toml' <<<$'[store\nmax_count = 1'
bad 'bad\.toml' <<<$'\xff\xfe binary \x00'
gives 2 'missing\.toml' "$L" --config "$T/missing.toml" snap
gives 2 "$T" "$L" --config "$T" snap
head -c 20000000 /dev/zero >"$T/huge.toml"
gives 2 'huge\.toml' "$L" --config "$T/huge.toml" config check

# --- flags

gives 2 'gopher' "$L" watch --probe gopher://127.0.0.1/
gives 2 'tcp:nowhere' "$L" watch --probe tcp:nowhere
gives 2 'no-such-flag' "$L" watch --no-such-flag
gives 2 'no collector.*nonsense.*there are:' "$L" --store "$T/store" snap --only nonsense
config
gives 1 'no watch is running' "$L" --config "$T/lastgasp.toml" status

# --- a console file that vanishes is said once

mkdir "$T/consoles"
echo "first line" >"$T/consoles/a.log"
config "[kmsg]
enabled = false
[[console]]
path = \"$T/consoles/a.log\"
[[console]]
path = \"$T/nowhere/b.log\"
"
start_watch
await 20 '[ "$(status ".log[].text" | grep -c "nowhere")" = 1 ]' "a line about the console that is not there"
rm "$T/consoles/a.log"
await 30 '[ "$(status ".log[].text" | grep -c "consoles/a.log")" -ge 1 ]' "a line about the console that vanished"
# Looked for every 10 s: two looks later it is still one line.
holds 22 '[ "$(status ".log[].text" | grep -c "consoles/a.log")" = 1 ]' "one line about the console that vanished"
holds 1 '[ "$(status ".log[].text" | grep -c "nowhere")" = 1 ]' "one line about the console that was never there"
echo "[  100.000001] Kernel panic - not syncing: it is back" >"$T/consoles/a.log"
await 30 '[ "$(status .events.panic)" = 1 ]' "an event of the console that came back"
stop_watch

# --- archives

rm -rf "$STORE"
"$L" --store "$STORE" --format json snap --no-disk-benchmark >"$T/snap.json" 2>"$T/err" || fail "snap: $(cat "$T/err")"
GOOD=$(newest)
ID=$(jq -r .id "$T/snap.json")
sound "$GOOD"
gives 0 "$ID" "$L" --store "$STORE" list
gives 0 . "$L" --store "$STORE" show "$ID"
gives 0 . "$L" --store "$STORE" verify "$ID"
gives 0 . "$L" verify "$GOOD"
gives 2 'nosuch' "$L" --store "$STORE" show nosuch
mkdir -m 0700 "$T/empty"
gives 1 . "$L" --store "$T/empty" list
size=$(stat -c %s "$GOOD")
stem=$(basename "$GOOD")

# cut NAME BYTES: a copy with its first BYTES bytes.
damaged=$T/damaged
mkdir -m 0700 "$damaged"
for part in 10 50 90 99; do
    head -c $((size * part / 100)) "$GOOD" >"$damaged/$stem"
    gives 3 . "$L" verify "$damaged/$stem"
    gives 3 . "$L" show "$damaged/$stem"
    rm -rf "$T/unpacked"
    gives 3 . "$L" extract "$damaged/$stem" -C "$T/unpacked"
done
for place in 1000 $((size / 2)) $((size - 200)); do
    cp "$GOOD" "$damaged/$stem"
    printf '\xde\xad\xbe\xef' | dd of="$damaged/$stem" bs=1 seek=$place conv=notrunc 2>/dev/null
    gives 3 . "$L" verify "$damaged/$stem"
done

# Foreign files: no snapshots, and said so.
: >"$T/empty.tar.zst"
head -c 100000 /dev/urandom >"$T/random.tar.zst"
echo "some text" | zstd -q >"$T/text.tar.zst"
echo x >"$T/foreign.txt"
tar -C "$T" --zstd -cf "$T/foreign.tar.zst" foreign.txt
for file in empty random text foreign; do
    for command in verify show; do
        code=0
        timeout 60 "$L" $command "$T/$file.tar.zst" >"$T/out" 2>"$T/err" || code=$?
        # An archive of somebody else may be shown, if it is called what it is.
        [ $code = 2 ] || [ $code = 3 ] || { [ $command = show ] && grep -q 'not made by lastgasp' "$T/out"; } ||
            fail "$command $file.tar.zst: exit code $code"
        has "$command $file.tar.zst" "$(cat "$T/err" "$T/out")" "$file"
        lacks "$command $file.tar.zst" "$(cat "$T/err")" 'panicked'
        checks=$((checks + 1))
    done
done
gives 2 'nowhere' "$L" verify "$T/nowhere/x.tar.zst"

# --- extraction never leaves its directory, whatever the names in the archive say

python3 - "$T/hostile.tar" <<'PY'
import io, sys, tarfile
with tarfile.open(sys.argv[1], "w") as tar:
    def put(name, kind=tarfile.REGTYPE, link="", data=b"escaped\n"):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        info.size = len(data) if kind == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(data) if kind == tarfile.REGTYPE else None)
    put("top/incident.json", data=b"{}")
    put("../escaped-1")
    put("top/../../escaped-2")
    put(f"{sys.argv[1]}.escaped-3")
    put("/tmp/lastgasp-escaped-4")
    put("top/link", tarfile.SYMTYPE, "../..")
    put("top/link/escaped-5")
    put("top/hard", tarfile.LNKTYPE, "../../escaped-target")
    put("top/hard")
    put("top/device", tarfile.CHRTYPE)
    put("top/fine", data=b"fine\n")
PY
zstd -q "$T/hostile.tar" -o "$T/hostile.tar.zst"
echo untouched >"$T/escaped-target"
mkdir -p "$T/deep/er"
code=0
timeout 60 "$L" extract "$T/hostile.tar.zst" -C "$T/deep/er/out" >"$T/out" 2>"$T/err" || code=$?
lacks "extract of a hostile archive" "$(cat "$T/err")" 'panicked'
[ $code = 0 ] || [ $code = 3 ] || fail "extract of a hostile archive: exit code $code: $(cat "$T/err")"
has "what was left out is said" "$(cat "$T/out" "$T/err")" 'escaped-1'
escaped=$(find "$T" /tmp -maxdepth 4 -name '*escaped-[1-5]*' -not -path "$T/deep/er/out/*" 2>/dev/null || true)
[ -z "$escaped" ] || fail "escaped: $escaped"
is "a file outside, by hard link" "$(cat "$T/escaped-target")" untouched
[ -z "$(find "$T/deep" -type l)" ] || fail "a link was made: $(find "$T/deep" -type l)"
[ -z "$(find "$T/deep" -type c)" ] || fail "a device was made"
checks=$((checks + 1))

# A bomb: 2 GiB of zeros in 64 KiB. It may be refused or cut, in bounded memory and time.
head -c 2147483648 /dev/zero | zstd -q -1 >"$T/bomb.tar.zst"
code=0
(ulimit -v 2000000; timeout 60 "$L" verify "$T/bomb.tar.zst") >"$T/out" 2>"$T/err" || code=$?
[ $code = 2 ] || [ $code = 3 ] || fail "verify of a bomb: exit code $code: $(head -c 300 "$T/err")"
checks=$((checks + 1))

# --- binary and hostile logs

head -c 20000000 /dev/urandom >"$T/random.log"
gives 1 '' "$L" scan "$T/random.log"
gives 2 'nowhere' "$L" scan "$T/nowhere.log"
head -c 30000000 /dev/zero | tr '\0' 'A' >"$T/oneline.log"
gives 1 '' "$L" scan "$T/oneline.log"
printf '[    1.000000] \x1b[2JKernel panic - not syncing: \x1b]0;owned\x07 \xff\xfe\n' >"$T/escape.log"
gives 0 'anic' "$L" scan "$T/escape.log"
lacks "escape sequences on the output" "$(cat -v "$T/out")" '\^\[|\^G'
say "$checks checks: exit codes and messages as documented; nothing escaped"
