# System calls that perl-base has no names for, by their numbers (asm/unistd.h). What fails gives false, with the reason
# in $!. To start mount(8) for each mount would take a tenth of the time that a whole container takes.
package SystemCalls;
use strict;
use warnings;
use Config;
use Errno qw(ENAMETOOLONG ENOSYS);
use Fcntl qw(O_NOFOLLOW);

# Linux gives new system calls the same number on every machine.
my %common = (open_tree => 428, move_mount => 429, pidfd_open => 434, close_range => 436, openat2 => 437, mount_setattr => 442);
my %generic = (
    %common,
    faccessat => 48, fsync => 82, syncfs => 267, umount2 => 39, mount => 40, pivot_root => 41, capget => 90, capset => 91, unshare => 97, setresgid => 149,
    setresuid => 147, prctl => 167, setfsuid => 151, setfsgid => 152, setgroups => 159, recvmsg => 212, setns => 268,
);
my %numbers = (
    x86_64 => {
        %common,
        recvmsg => 47, faccessat => 269, fsync => 74, syncfs => 306, setgroups => 116, setresuid => 117, setresgid => 119, setfsuid => 122, setfsgid => 123,
        capget => 125, capset => 126, pivot_root => 155, prctl => 157, mount => 165, umount2 => 166, unshare => 272, setns => 308,
    },
    aarch64     => \%generic,
    riscv64     => \%generic,
    powerpc64le => {
        %common,
        faccessat => 298, fsync => 118, syncfs => 348, mount => 21, umount2 => 52, setgroups => 81, setfsuid => 138, setfsgid => 139, setresuid => 164,
        setresgid => 169, prctl => 171, capget => 183, capset => 184, pivot_root => 203, unshare => 282, recvmsg => 342, setns => 350,
    },
    s390x => {
        %common,
        faccessat => 300, fsync => 118, syncfs => 338, mount => 21, umount2 => 52, prctl => 172, capget => 184, capset => 185, setgroups => 206, setresuid => 208,
        setresgid => 210, setfsuid => 215, setfsgid => 216, pivot_root => 217, unshare => 303, setns => 339,
        recvmsg => 372,
    },
);
my ($machine) = split /-/, $Config{archname};

# Linux's constants. Every descriptor from here is closed when a program is started.
use constant {
    AT_FDCWD => -100, AT_EMPTY_PATH => 0x1000, AT_RECURSIVE => 0x8000,
    O_PATH => 010000000, O_CLOEXEC => 02000000,
    RESOLVE_NO_MAGICLINKS => 0x02, RESOLVE_NO_SYMLINKS => 0x04, RESOLVE_BENEATH => 0x08,
    OPEN_TREE_CLONE => 1, MOVE_MOUNT_EMPTY_PATHS => 0x44,
    ATTR_RDONLY => 0x1, ATTR_NOSUID => 0x2, ATTR_NODEV => 0x4, ATTR_NOEXEC => 0x8, ATTR_IDMAP => 0x100000,
    CLONE_NEWNS => 0x20000, CLONE_NEWUSER => 0x10000000, CLONE_NEWPID => 0x20000000, CLONE_NEWNET => 0x40000000,
};

# @return the call's own answer, -1 where it failed.
sub raw {
    my ($name, @arguments) = @_;
    my $number = $numbers{$machine}{$name} or $! = ENOSYS, return -1;
    return syscall($number, @arguments);
}

sub call { return raw(@_) != -1 }

sub handle {
    my ($descriptor) = @_;
    return if $descriptor == -1;
    open(my $handle, '<&=', $descriptor) or return;
    return $handle;
}

# Linux has room for one page, and cuts off what is longer.
sub mount {
    my ($source, $target, $type, $flags, $options) = @_;
    length $options < 4096 or $! = ENAMETOOLONG, return;
    return call('mount', $source, $target, $type, $flags, $options);
}

sub umount {
    my ($target, $flags) = @_;
    return call('umount2', $target, $flags);
}

# Opens a place (O_PATH) below a folder that is open. Nothing on the way is a link; what is there at the end may be one.
sub open_below {
    my ($folder, $path, $flags) = @_;
    my $how = pack 'Q3', O_PATH | O_CLOEXEC | O_NOFOLLOW | ($flags // 0), 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    return handle(raw('openat2', fileno $folder, "$path", $how, length $how));
}

# Opens a place (O_PATH), links followed.
sub open_path {
    my ($path) = @_;
    my $how = pack 'Q3', O_PATH | O_CLOEXEC, 0, 0;
    return handle(raw('openat2', AT_FDCWD, "$path", $how, length $how));
}

# A copy of what is mounted at an open place and below it, attached nowhere.
sub copy_mount {
    my ($place) = @_;
    my $flags = OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE;
    return handle(raw('open_tree', fileno $place, '', $flags));
}

# Of a mount and all below it. @param users a user namespace to map users by, with ATTR_IDMAP.
sub change_mount {
    my ($mount, $set, $clear, $users) = @_;
    my $attributes = pack 'Q4', $set, $clear, 0, $users ? fileno $users : 0;
    my $flags = AT_EMPTY_PATH | AT_RECURSIVE;
    return call('mount_setattr', fileno $mount, '', $flags, $attributes, length $attributes);
}

sub attach_mount {
    my ($mount, $place) = @_;
    return call('move_mount', fileno $mount, '', fileno $place, '', MOVE_MOUNT_EMPTY_PATHS);
}

# Where an open file lies, as its mount is reached from /.
sub path_of {
    my ($place) = @_;
    return readlink '/proc/self/fd/' . fileno $place;
}

# A process, to be waited for with select: it can be read from when the process has ended.
sub open_process {
    my ($process) = @_;
    return handle(raw('pidfd_open', 0 + $process, 0));
}

1;
