/** The tests' image with the host's perl in it: a container that makes system calls by their numbers (x86_64, aarch64). */
import { makeImage } from "./made-image.ts";

/** @returns the image's name; a script runs in it as `perl -e`. */
export const makePerlImage = (script = ""): string =>
  makeImage(`
    perl=$(readlink -f "$(command -v perl)")
    cp --parents "$perl" . && mkdir -p usr/bin && { [ -e usr/bin/perl ] || ln "./$perl" usr/bin/perl; }
    for library in $(ldd "$perl" | grep -o '/[^ ]*'); do cp --parents --dereference "$library" .; done
    ${script}`);

const numbers = {
  x64: { inotify_init1: 294, unshare: 272, setns: 308, mount: 165, keyctl: 250, modify_ldt: 154, clone: 56 },
  arm64: { inotify_init1: 26, unshare: 97, setns: 268, mount: 40, keyctl: 219, clone: 220 },
}[process.arch as "x64" | "arm64"];
const common = { open_tree: 428, move_mount: 429, fsopen: 430, clone3: 435, mount_setattr: 442 };
const messages = { x64: { sendmsg: 46, recvmsg: 47 }, arm64: { sendmsg: 211, recvmsg: 212 } }[
  process.arch as "x64" | "arm64"
];

/** Perl: what a script can call by its name in \`%call\`, and how descriptors pass a socket. */
export const perlCalls = `
  %call = (${Object.entries({ ...numbers, ...common, ...messages }).map(([name, number]) => `${name} => ${number}`)});
  sub try_call { my ($name, @rest) = @_; return syscall($call{$name}, @rest) == -1 ? $! + 0 : 0 }
  # struct msghdr, one struct iovec, one struct cmsghdr with a descriptor (SCM_RIGHTS).
  sub send_descriptor {
    my ($socket, $descriptor) = @_;
    my $byte = "x"; my $vector = pack 'P Q', $byte, 1;
    my $control = pack 'Q i i i x4', 20, 1, 1, $descriptor;
    my $message = pack 'x16 P Q P Q x8', $vector, 1, $control, 24;
    syscall($call{sendmsg}, fileno $socket, $message, 0) > 0 or die "sendmsg: $!";
  }
  sub receive_descriptor {
    my ($socket) = @_;
    my ($byte, $control) = ("x", "\\0" x 24); my $vector = pack 'P Q', $byte, 1;
    my $message = pack 'x16 P Q P Q x8', $vector, 1, $control, 24;
    syscall($call{recvmsg}, fileno $socket, $message, 0) > 0 or die "recvmsg: $!";
    return (unpack 'Q i i i', $control)[3];
  }
  sub unix_socket { socket(my $socket, 1, 1, 0) or die "socket: $!"; return $socket }
  sub unix_address { return pack 'S Z*', 1, $_[0] }
  $| = 1;
`;
