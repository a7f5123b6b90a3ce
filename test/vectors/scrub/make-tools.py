#!/usr/bin/env python3
"""Writes tools.json: what real programs print of awkward values. Run by hand where they are installed; the tests read the file.
What is there already stays as it is: only new commands and new values are run. Remove the file to run everything again.

Each row: the command, its version, the value and what it printed (base64), and how many bytes it prints besides the value.
"""
import base64, json, os, subprocess, sys

VALUES = [
    "hunter2", "s3cr3t-v4lue", "p@ss/w0rd", "it's-a$ecret", 'say "hello" now', "back\\slash\\value", "C:\\new\\table",
    "a&b<c>d;e=f", "50%off%41now", "schl\u00fcssel-1", "пароль-1234", "emoji-\U0001f600-key", "tab\there-too", "two  blanks here",
    "foo\nbar\nbaz\nzoo", "line-one\r\nline-two", "user=admin\npass=swordfish9\n", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "abc==def==", "QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "xoxb-12345-abcdef-ABCDEF", "ghp_0123456789abcdefghijABCDEFGHIJ456789",
    "$1$salt$hashhashhash", "#begins-with-hash", "~home/of/secret", "-n-option-like", "!bang!history!", "back`tick`s",
    "(round)[square]{curly}", "star*quest?ion", "comma,semi;colon:", "plus+plus+plus", "trailing-percent%", "'quoted'", '"dquoted"',
    "a'b\"c\\d", "$$double$$dollar", "{{template}}", "${variable}x", "https://user:p%40ss@host/path?q=1&r=2", "0123456789abcdef0123456789abcdef",
    "correct horse battery staple", "key: value # comment", "postgres://u:pa$$w0rd@db:5432/x", "AKIAIOSFODNN7EXAMPLE", "mixed \u00e4\u00f6\u00fc\n\u00df line-2",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\nNMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCdPEovGhLa0VzMaQ8s+CLOyS56YyCFGeJZ\n-----END PRIVATE KEY-----",
    '{"type": "service", "private_key": "-----BEGIN KEY-----\\nAbCdEfGhIjKlMnOpQrStUvWxYz012345\\n-----END KEY-----\\n", "password": "swordfish-7/x"}',
    "x" * 3 + "Long0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-and-more-0123456789-to-wrap",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "Aa1!Bb2\"Cc3#Dd4$Ee5&Gg7'Hh8(Ii9)Jj0*", "''quotes''", "ends-with-backslash\\", "$(rm -rf /)`id`${HOME}",
    "\u5bc6\u7801\u662f\u4e00\u4e2a\u5f88\u957f", "many   blanks    in  between", "tab\ttab\ttab-value", "a1b2", "p@ss", "x\"y'z",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
]

PY = "import os,sys; v=os.environ['V']; "
COMMANDS = [
    ["bash", "-c", "echo $V"], ["bash", "-c", 'echo "$V"'], ["bash", "-c", "printf '%q\\n' \"$V\""], ["bash", "-c", 'declare -p V'],
    ["bash", "-c", 'set -x; : "$V"'], ["bash", "-c", 'echo "${V@Q} ${V@E}"'], ["dash", "-c", "echo $V"], ["dash", "-c", "export -p | grep -A99 \"V=\""],
    ["dash", "-c", 'set -x; : "$V"'], ["busybox", "sh", "-c", "set -x; : \"$V\""], ["busybox", "sh", "-c", "printf %s \"$V\" | busybox od -An -tx1"],
    ["sh", "-c", 'printf %s "$V" | paste -sd,'], ["sh", "-c", 'printf %s "$V" | tr -d "\\n"'],
    ["sh", "-c", 'printf %s "$V" | base64'], ["sh", "-c", 'printf %s "$V" | base64 -w 57'], ["sh", "-c", 'printf "id: %s" "$V" | base64 -w 20'],
    ["sh", "-c", 'printf %s "$V" | openssl base64'], ["sh", "-c", 'printf %s "$V" | base64 | sed "s/^/    /"'],
    ["sh", "-c", 'printf %s "$V" | base64 -w 48 | sed "s/^/2026-03-01T00:00:00Z build | /"'], ["sh", "-c", 'printf %s "$V" | base64 -w 60 | jq -Rs .'],
    ["sh", "-c", 'printf %s "$V" | xxd -p'], ["sh", "-c", 'printf %s "$V" | xxd'], ["sh", "-c", 'printf %s "$V" | xxd -u -p -c 20'],
    ["sh", "-c", 'printf %s "$V" | od -An -tx1'], ["sh", "-c", 'printf %s "$V" | od -tx1'], ["sh", "-c", 'printf %s "$V" | od -An -tx1 | tr -d "\\n"'],
    ["jq", "-n", "env.V"], ["jq", "-nr", "env.V|@json|@json"], ["jq", "-nr", "env.V|@uri"], ["jq", "-nr", "env.V|@sh"], ["jq", "-nr", "env.V|@html"],
    ["jq", "-nr", "env.V|@csv \"\\([.])\""], ["jq", "-nr", "[env.V]|@csv"], ["jq", "-nr", "[env.V]|@tsv"], ["jq", "-na", "env.V"], ["sh", "-c", 'printf %s "$V" | jq -R .'],
    ["python3", "-c", PY + "print(repr(v))"], ["python3", "-c", PY + "print(ascii(v))"], ["python3", "-c", PY + "print(v.encode())"],
    ["python3", "-c", PY + "import urllib.parse as u; print(u.quote(v), u.quote_plus(v), u.quote(v, safe=':@/'), u.quote(u.quote(v)))"],
    ["python3", "-c", PY + "import re; print(re.escape(v))"], ["python3", "-c", PY + "import html; print(html.escape(v))"],
    ["python3", "-c", PY + "print(v.encode('unicode_escape').decode())"], ["python3", "-c", PY + "import quopri; sys.stdout.buffer.write(quopri.encodestring(v.encode()))"],
    ["python3", "-c", PY + "print(''.join('&#%d;' % ord(c) for c in v))"], ["python3", "-c", PY + "print(''.join('%%%02x' % b for b in v.encode()))"],
    ["python3", "-c", PY + "print(''.join('\\\\x%02X' % b for b in v.encode()))"], ["python3", "-c", PY + "import shlex; print(shlex.quote(v))"],
    ["python3", "-c", PY + "import csv; csv.writer(sys.stdout).writerow([v])"], ["python3", "-c", PY + "print(v.replace('%','%%').replace('$','$$'))"],
    ["python3", "-c", PY + "print(v.replace(\"'\",\"''\"))"], ["python3", "-c", PY + "print(v.replace('%','%25').replace('\\r','%0D').replace('\\n','%0A'))"],
    ["python3", "-c", PY + "import textwrap; print(textwrap.fill(v, 80, break_long_words=False, break_on_hyphens=False))"],
    ["python3", "-c", PY + "import json; print(json.dumps({'k': json.dumps({'v': v})}))"], ["python3", "-c", PY + "print(v.encode().hex(':'), v.encode().hex(' ').upper())"],
    ["perl", "-e", 'print quotemeta($ENV{V}), "\\n"'], ["perl", "-MData::Dumper", "-e", "$Data::Dumper::Useqq=1; print Dumper($ENV{V})"],
    ["node", "-e", "console.log(process.env)"], ["node", "-e", "console.log(JSON.stringify(process.env.V), encodeURI(process.env.V), encodeURIComponent(process.env.V), escape(process.env.V))"],
    ["node", "-e", "console.log(require('util').inspect({v: process.env.V}), new URLSearchParams({v: process.env.V}).toString())"],
    ["git", "config", "--file", "/dev/stdin", "--list"], ["sh", "-c", 'cd "$(mktemp -d)" && git init -q . && git config x.y "$V" && cat .git/config | tail -1'],
    ["sh", "-c", 'cd "$(mktemp -d)" && git init -q . && n="$(printf %s "$V" | tr / _)" && touch "./$n" && git status --porcelain'],
    ["curl", "-sv", "--max-time", "1", "-G", "--data-urlencode", "v@/dev/stdin", "http://127.0.0.1:1/"],
    ["sh", "-c", 'printf %s "$V" | xxd -i'], ["sh", "-c", 'printf %s "$V" | od -An -v -tx1 -w8'], ["sh", "-c", 'printf %s "$V" | base64 -w 17'], ["sh", "-c", 'printf %s "$V" | base64 | cat -n'],
    ["python3", "-c", PY + "print(v.encode().hex('-').upper(), ','.join(map(str, v.encode())))"],
    ["node", "-e", "console.log(JSON.stringify(Buffer.from(process.env.V)))"],
    ["jq", "-nr", "env.V|@html|@uri"], ["jq", "-nr", "env.V|tojson|tojson|@uri"], ["jq", "-nr", "[env.V]|@tsv|@html"],
    ["sh", "-c", 'GIT_TRACE=1 git ls-remote "file:///nonexistent/$V" 2>&1 | grep trace: | tr -s " "'], ["sh", "-c", 'ls "/nonexistent/$V"'], ["sh", "-c", "env -0"], ["bash", "-c", 'echo "${V@A}"; export -p'],
    ["busybox", "sh", "-c", "export -p"], ["busybox", "sed", "s/^/> /"], ["diff", "-u", "/dev/null", "-"], ["strace", "-qq", "-s", "4000", "-e", "trace=write", "-o", "/dev/stdout", "cat"],
    ["perl", "-MEncode", "-MJSON::PP", "-e", "print JSON::PP->new->pretty->ascii->encode([decode_utf8($ENV{V})])"], ["perl", "-MMIME::QuotedPrint", "-e", "print encode_qp($ENV{V})"],
    ["python3", "-c", PY + "import xml.etree.ElementTree as E; e=E.Element('a',k=v); e.text=v; print(E.tostring(e).decode())"],
    ["python3", "-c", PY + "import logging; logging.basicConfig(level=10); logging.info('%r', {'a': v})"],
    ["sh", "-c", 'printf %s "$V" > v.tmp; for m in quote json html tcl csv; do echo ".mode $m"; echo "select cast(readfile(\'v.tmp\') as text);"; done | sqlite3 :memory:; rm v.tmp'],
    ["sh", "-c", 'kubectl create configmap x --from-literal="k=$V" --dry-run=client -o yaml'],
    ["sh", "-c", 'printf "protocol=https\\nhost=h\\nusername=u\\npassword=%s\\n\\n" "$V" | git -c credential.helper="store --file c.tmp" credential approve && cat c.tmp; rm -f c.tmp'],
]
GO = '''package main
import ("encoding/json";"fmt";"html";"net/url";"os";"strconv")
func main(){ v:=os.Getenv("V"); j,_:=json.Marshal(v); fmt.Printf("%q %+q %x % x %s %s %s %s %s\\n", v, v, v, v, j, url.QueryEscape(v), url.PathEscape(v), html.EscapeString(v), strconv.QuoteToASCII(v)); fmt.Println(url.UserPassword("u", v)) }
'''

def run(command, value):
    env = {"PATH": os.environ["PATH"], "V": value, "LC_ALL": "C.UTF-8", "HOME": "/tmp"}
    stdin = ("[x]\n\ty = z\n" if "--list" in command else value).encode()
    done = subprocess.run(command, input=stdin, env=env, capture_output=True, timeout=20)
    # No path of this machine gets into the file.
    return (done.stdout + done.stderr).replace(os.environ["PATH"].encode(), b"/usr/bin:/bin")

def main():
    import shutil, tempfile
    commands = [c for c in COMMANDS if shutil.which(c[0]) and "--list" not in c]
    if shutil.which("go"):
        folder = tempfile.mkdtemp()
        open(f"{folder}/p.go", "w").write(GO)
        if subprocess.run(["go", "build", "-o", f"{folder}/goprint", f"{folder}/p.go"]).returncode == 0:
            commands.append([f"{folder}/goprint"])
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools.json")
    known = json.load(open(path)) if os.path.exists(path) else {"values": [], "rows": []}
    same = len(os.path.commonprefix([known["values"], VALUES]))
    done = {tuple(row["command"]): [p for p in row["prints"] if p[0] < same] for row in known["rows"]}
    os.chdir(tempfile.mkdtemp())
    rows = []
    for command in commands:
        named = ["go: %q %+q %x % x json QueryEscape PathEscape EscapeString QuoteToASCII UserPassword"] if command[0].endswith("goprint") else command
        outputs = done.get(tuple(named), [])
        for i in range(same if tuple(named) in done else 0, len(VALUES)):
            out = run(command, VALUES[i])
            if out: outputs.append([i, base64.b64encode(out).decode()])
        rows.append({"command": named, "prints": outputs})
    with open(path, "w") as file:
        file.write('{"values": ' + json.dumps(VALUES) + ',\n"rows": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]}\n")

main()
