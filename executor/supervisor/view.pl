# What supervisor.pl and the runtime see of the host: a root of their own, with the programs they run, read-only, and
# nothing else of the host's files. A runtime that is led astray by what a container planted finds nothing to write to.
#
#   /bundle        the bundle, in a tmpfs (supervisor.pl)
#   /rootfs        the container's files
#   /own           for the supervisor alone (mode 0700)
#     disk/        the run's folder on the host's disk, or its storage
#     mapped/      the same, with the container's users (users.pl)
#   /l/N           the image's layers and those of cached steps (mode 0700)
#   /dev /proc     what a runtime needs of them
#   /sys           read-only, but for the cgroups in it
#   /usr …         the host's, read-only
#
# The host's own view is kept by its mount namespace alone: on_host() goes there for a moment.
package View;
use strict;
use warnings;
use Fcntl qw(O_CREAT O_WRONLY);

use constant { MS_NOSUID => 2, MS_NODEV => 4, MNT_DETACH => 2 };

my @programs = qw(/usr /bin /sbin /lib /lib32 /lib64 /libx32);
# What the programs of a run read: the dynamic linker, iproute2, nftables, and Debian's choice of iptables.
my @settings = map { "/etc/$_" } qw(ld.so.cache alternatives iproute2 protocols services xtables.conf);
my @devices = map { "/dev/$_" } qw(null zero full random urandom tty);

my ($host, $inner);

# Makes the folders around a place, and a folder or an empty file there.
sub make_room {
    my ($path, $is_folder) = @_;
    my $around = '';
    for my $name (split '/', $path =~ s{/[^/]*$}{}r) {
        $around .= "$name/";
        -d $around or mkdir $around or return;
    }
    return -e $path || ($is_folder ? mkdir $path : sysopen(my $made, $path, O_WRONLY | O_CREAT, 0600));
}

# Shows something of the host at the same path below $top.
sub show {
    my ($top, $path, $attributes) = @_;
    return 1 if -e "$top$path";
    if (-l $path) { return make_room("$top$path") && unlink("$top$path") && symlink(readlink $path, "$top$path") }
    my $source = SystemCalls::open_path($path) or return $!{ENOENT};
    my $copy = SystemCalls::copy_mount($source) or return;
    make_room("$top$path", -d $source) or return;
    my $place = SystemCalls::open_path("$top$path") or return;
    return SystemCalls::change_mount($copy, $attributes, 0) && SystemCalls::attach_mount($copy, $place);
}

# Where a program lies: the folder that it is found in, and the one that it is in.
sub folders_of {
    my ($program) = @_;
    my @found = $program =~ m{/} ? $program : grep { -x } map { "$_/$program" } split /:/, $ENV{PATH} // '';
    my @folders;
    for (my $at = $found[0]; defined $at && @folders < 40; $at = readlink $at) {
        $at = "$folders[-1]/$at" if $at !~ m{^/};
        push @folders, $at =~ s{/[^/]*$}{}r;
    }
    return grep { m{^/[^/]} } @folders;
}

# Takes the host out of view.
#
# @param top an empty folder, to build the new root on.
# @param disk a mount of the run's folder, or of its storage, attached nowhere.
# @param folders those of what is run beside the system's own programs.
sub enclose {
    my ($top, $disk, $folders) = @_;
    open($host, '<', '/proc/self/ns/mnt') or return;
    SystemCalls::call('unshare', SystemCalls::CLONE_NEWNS()) or return;
    open($inner, '<', '/proc/self/ns/mnt') or return;
    SystemCalls::mount('claimcheck', $top, 'tmpfs', MS_NOSUID | MS_NODEV, 'mode=0755,size=1m') or return;
    my $read_only = SystemCalls::ATTR_RDONLY() | SystemCalls::ATTR_NOSUID();
    for my $path (@programs, @settings, @$folders) { show($top, $path, $read_only) or return }
    my $device = SystemCalls::ATTR_NOSUID() | SystemCalls::ATTR_NOEXEC();
    for my $path (@devices) { show($top, $path, $device) or return }
    for my $path ('/proc', '/run/xtables.lock') { show($top, $path, 0) or return }
    show($top, '/sys', SystemCalls::ATTR_RDONLY()) or return;
    if (my $cgroups = SystemCalls::open_path("$top/sys/fs/cgroup")) {
        SystemCalls::change_mount($cgroups, 0, SystemCalls::ATTR_RDONLY());    # where there are none, there are no limits
    }
    for my $name (qw(bundle rootfs l own own/disk own/mapped)) { mkdir "$top/$name" or return }
    chmod 0700, "$top/own", "$top/l" or return;
    my $place = SystemCalls::open_path("$top/own/disk") or return;
    SystemCalls::attach_mount($disk, $place) && chdir $top or return;
    # The old root comes to lie on the new one, where it is unmounted.
    SystemCalls::call('pivot_root', '.', '.') && SystemCalls::umount('.', MNT_DETACH) && chdir '/' or return;
    return 1;
}

sub enter { return SystemCalls::call('setns', fileno $_[0], SystemCalls::CLONE_NEWNS()) }

# Does something where the whole host is in view. What it opens stays open.
sub on_host {
    my ($do) = @_;
    return $do->() if !$inner;
    enter($host) or return;
    my @result = $do->();
    my $reason = $!;
    enter($inner) or die "setns: $!\n";
    $! = $reason;
    return wantarray ? @result : $result[0];
}

1;
