# A container's users: a user namespace of its own for each run, so that no user of a container is one of the host's.
#
# On disk stand the container's own numbers: what a run leaves looks as if there were no user namespace. Mounts translate
# (mount_setattr(2), MOUNT_ATTR_IDMAP): 0 on disk is the first of the run's numbers for the kernel, and 0 in the container.
#
# The numbers of all runs of this host come from the entry `claimcheck` of /etc/subuid, which /etc/subgid has to have in
# the same words; without one from those that systemd's list of users leaves unused (systemd.io/UIDS-GIDS). A run holds
# 65,536 of them by a lock on a file of that name, which goes with its last process.
package Users;
use strict;
use warnings;
use Errno qw(ENOEXEC);
use Fcntl qw(O_CREAT O_NOFOLLOW O_RDWR LOCK_EX LOCK_NB);

use constant { CAPABILITY_VERSION => 0x20080522, PR_SET_PDEATHSIG => 1 };

# For each run.
my $count = 65536;
my ($unused, $unused_end) = (0x70000000, 0x7fff0000);
my $locks = '/run/claimcheck';

# The first number on the host; undefined where containers have the numbers of whoever runs them.
my $base;
# The user namespace of the run.
my $namespace;
my ($lock, %maps);

sub entries {
    my ($path) = @_;
    open(my $file, '<', $path) or return;
    return map { /^([^:]+):(\d+):(\d+)$/ ? [$1, $2, $3] : () } readline $file;
}

# The first numbers of all ranges that runs may take.
sub ranges {
    my ($subuid, $subgid) = map { [entries($_)] } '/etc/subuid', '/etc/subgid';
    my ($users, $groups) = map { join ' ', map { "@$_[1, 2]" } grep { $_->[0] eq 'claimcheck' } @$_ } $subuid, $subgid;
    if ($users ne $groups) {
        $@ = 'claimcheck has other numbers in /etc/subgid than in /etc/subuid';
        return;
    }
    my @own = grep { $_->[0] eq 'claimcheck' } @$subuid;
    my @given = @own ? @own : ['', $unused, $unused_end - $unused];
    my @taken = @own ? () : (@$subuid, @$subgid);
    my @starts;
    for (@given) {
        my (undef, $first, $size) = @$_;
        for (my $start = $first; $start + $count <= $first + $size; $start += $count) { push @starts, $start }
    }
    return grep {
        my $start = $_;
        !grep { $_->[1] < $start + $count && $start < $_->[1] + $_->[2] } @taken;
    } @starts;
}

# Takes numbers that no other run of this host has. A random one first: numbers rest before they are used again.
sub take_range {
    $@ = '';
    my @starts = ranges();
    @starts or $@ ||= 'there are no numbers for users: add claimcheck to /etc/subuid and /etc/subgid', return;
    mkdir $locks, 0700;
    my $first = int rand @starts;
    for my $try (0 .. $#starts) {
        my $start = $starts[($first + $try) % @starts];
        sysopen($lock, "$locks/users-$start", O_RDWR | O_CREAT | O_NOFOLLOW, 0600) or $@ = "$locks: $!", return;
        # Not a lock on a byte: /proc/locks shows those of a descriptor to every container.
        return $start if flock $lock, LOCK_EX | LOCK_NB;
    }
    $@ = 'other runs have all numbers of users; add more for claimcheck to /etc/subuid and /etc/subgid';
    return;
}

# The capabilities that this process may have, all of them again in force.
sub restore_capabilities {
    my $header = pack 'L l', CAPABILITY_VERSION, 0;
    my $sets = "\0" x 24;
    # By its address: arguments are copied, and the kernel writes into this one.
    SystemCalls::call('capget', $header, unpack('Q', pack 'P', $sets)) or return;
    my @sets = unpack 'L6', $sets;
    @sets[0, 3] = @sets[1, 4];
    return SystemCalls::call('capset', $header, pack 'L6', @sets);
}

# Has a child do something and wait, and does something to it then. @return what that gave, or nothing.
sub in_child {
    my ($do, $then) = @_;
    pipe(my $made, my $tells) && pipe(my $waits, my $release) or return;
    my $child = fork // return;
    if (!$child) {
        close $_ for $made, $release;
        syswrite $tells, $do->() ? '+' : $! + 0;
        sysread $waits, my $done, 1;
        exit 0;
    }
    close $_ for $tells, $waits;
    my $result;
    sysread $made, my $answer, 16;
    if ($answer eq '+') { $result = $then->($child) }
    else                { $! = $answer || ENOEXEC }
    my $reason = $!;
    close $release;
    waitpid $child, 0;
    $! = $reason;
    return $result;
}

# A user namespace with this map for users and groups, as uid_map has it. It belongs to the run's first number: what is
# counted for its maker (inotify instances, keys) is not counted for the host's root.
sub make_namespace {
    my ($users, $groups) = @_;
    my $leave = sub {
        $> = $base;
        return restore_capabilities() && SystemCalls::call('unshare', SystemCalls::CLONE_NEWUSER());
    };
    return in_child($leave, sub {
        my ($child) = @_;
        my %maps = (uid_map => $users, gid_map => $groups);
        for my $name (keys %maps) {
            open(my $file, '>', "/proc/$child/$name") or return;
            syswrite $file, $maps{$name} or return;
        }
        open(my $handle, '<', "/proc/$child/ns/user") or return;
        return $handle;
    });
}

# Gives the run numbers of its own. @return whether it could, with the reason in $@.
sub settle {
    $base = take_range() // return;
    $namespace = make_namespace(("0 $base $count") x 2) or $@ = "a user namespace: $!", return;
    return 1;
}

sub namespace { return $namespace }
sub first { return $base }

# The host's number of a container's user or group.
sub host_number { return ($base // 0) + $_[0] }

# The container's number of a user or group of the host's; root's of one that it does not have.
sub own_number {
    my $number = $_[0] - ($base // 0);
    return $number < 0 ? 0 : $number;
}

# Has a mount show the users on its disk as the container's users of the same numbers.
sub map_mount {
    my ($mount) = @_;
    return 1 if !defined $base;
    return SystemCalls::change_mount($mount, SystemCalls::ATTR_IDMAP(), 0, $namespace);
}

# Has a mount show one user and group of the host's as one of the container's. Nobody else can make anything there.
sub map_one {
    my ($mount, $host_user, $host_group, $user, $group) = @_;
    return 1 if !defined $base;
    my @maps = ("$host_user @{[$base + $user]} 1", "$host_group @{[$base + $group]} 1");
    $maps{"@maps"} //= make_namespace(@maps) or return;
    return SystemCalls::change_mount($mount, SystemCalls::ATTR_IDMAP(), 0, $maps{"@maps"});
}

# Does something to files as the container's root would, with all of this process's own rights beside.
sub as_root {
    my ($do) = @_;
    return $do->() if !defined $base;
    SystemCalls::raw('setfsgid', $base);
    SystemCalls::raw('setfsuid', $base);
    restore_capabilities();
    my $result = $do->();
    my $reason = $!;
    SystemCalls::raw('setfsuid', 0);
    SystemCalls::raw('setfsgid', 0);
    restore_capabilities();
    # Linux forgets with every other user that this process is to end with its parent.
    SystemCalls::call('prctl', PR_SET_PDEATHSIG, 9, 0, 0, 0);
    $! = $reason;
    return $result;
}

sub enter_namespace {
    return !$namespace || SystemCalls::call('setns', fileno $namespace, SystemCalls::CLONE_NEWUSER());
}

# Makes this process, which is a child, the container's root, with no rights outside of its user namespace.
sub become_root {
    return 1 if !defined $base;
    return
           enter_namespace()
        && SystemCalls::call('setgroups', 0, 0)
        && SystemCalls::call('setresgid', 0, 0, 0)
        && SystemCalls::call('setresuid', 0, 0, 0);
}

1;
