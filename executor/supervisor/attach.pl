# Mounts in a container's files, made before the runtime starts, each by descriptor: a runtime that mounts by path resolves
# it once more, and follows what lies there. Links in a target lead where the container's own would. The kernel's folders
# (/dev, /proc, /sys) are the runtime's alone: nothing of ours is mounted on or below them, however a target spells them, and
# a link in their place ends the run. When the runtime has made its mounts, and nothing of the container has run, they are
# compared with what was ordered.
use strict;
use warnings;
use Fcntl qw(O_CREAT O_DIRECTORY O_EXCL O_NOFOLLOW O_WRONLY);
use Errno qw(ELOOP);

# The file systems that the runtime mounts there.
my %kernel_types = (dev => 'tmpfs', proc => 'proc', sys => 'sysfs');
my $kernel_folders = join '|', sort keys %kernel_types;
# Links in one target, as for the kernel's own walk.
my $link_limit = 40;

# The folders and files that were made to mount on, and the targets that were mounted on.
my (@made, @targets);

sub here { return '/proc/self/fd/' . fileno $_[0] }

# Finds the place that a target names, and makes what is not there: folders, and in the end a folder or an empty file.
#
# @return the place, open, and its path without links; nothing with the reason in $!, or in $@ where it is ours.
sub find_place {
    my ($rootfs, $upper, $target, $is_folder) = @_;
    $@ = '';
    my $root = SystemCalls::open_path($rootfs) or return;
    my $device = (stat $root)[0];
    my @left = grep { length } split '/', $target;
    my (@done, $links);
    my $at = $root;
    while (defined(my $name = shift @left)) {
        next if $name eq '.';
        if ($name eq '..') {
            pop @done;
            $at = @done ? SystemCalls::open_below($root, join '/', @done) : $root;
            $at or return;
            next;
        }
        my $path = here($at) . "/$name";
        if (-l $path) {
            ++$links <= $link_limit or $! = ELOOP, return;
            my $link = readlink $path // return;
            if ($link =~ m{^/}) { @done = (); $at = $root }
            unshift @left, grep { length } split '/', $link;
            next;
        }
        push @done, $name;
        if (!lstat $path) {
            # In a folder of the host's it would stay.
            if ((stat $at)[0] != $device) { $@ = '/' . join('/', @done) . ' does not exist in the volume; make it there first'; return }
            my $makes_folder = @left || $is_folder;
            make($upper, \@done, sub {
                return mkdir $path, 0755 if $makes_folder;
                return sysopen my $file, $path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644;
            }) or return;
        }
        $at = SystemCalls::open_below($at, $name) or return;
    }
    my $path = '/' . join '/', @done;
    if ($path =~ m{^/(?:$kernel_folders)(?:/|$)}) { $@ = "it leads to $path; nothing can be mounted in /dev, /proc and /sys"; return }
    if ($path eq '/') { $@ = "it leads to the container's /"; return }
    return ($at, $path);
}

# Makes something as the container's root would. The layer gets it, and a copy of each folder around it.
sub make {
    my ($upper, $names, $do) = @_;
    my @paths = map { join '/', @$names[0 .. $_] } 0 .. $#$names;
    my @new = grep { !lstat "$upper/$_" } @paths;
    Users::as_root($do) or return;
    push @made, map { { path => $_, was => identity("$upper/$_") } } @new;
    return 1;
}

# What stays the same of something as long as nobody touches it.
sub identity {
    my (undef, $inode, $mode, undef, $uid, $gid) = lstat $_[0];
    return join ' ', map { $_ // '' } $inode, $mode, $uid, $gid;
}

# Takes away of that what the container left as it was: empty files and empty folders, by name, from inside the folder that
# they are in.
sub remove_made {
    my ($upper) = @_;
    for my $thing (reverse @made) {
        my ($folder, $name) = $thing->{path} =~ m{^(.*?)([^/]+)$}s;
        enter($upper, $folder) or next;
        next if identity($name) ne $thing->{was};
        if    (-d _) { rmdir $name }
        elsif (-z _) { unlink $name }
    }
    chdir '/';
    @made = ();
}

# Mounts a copy of a mount at a target of the container's.
sub attach_at {
    my ($rootfs, $upper, $mount, $target) = @_;
    my ($place, $path) = find_place($rootfs, $upper, $target, -d $mount) or return;
    if (-d $mount xor -d $place) {
        my @kinds = -d $place ? qw(file folder) : qw(folder file);
        $@ = "the source is a $kinds[0], and in the container there is a $kinds[1]";
        return;
    }
    SystemCalls::attach_mount($mount, $place) or return;
    push @targets, $path;
    return 1;
}

# Whether the kernel's folders are folders of the container's own; those that are not there are made.
sub check_kernel_folders {
    my ($rootfs, $upper) = @_;
    my $root = SystemCalls::open_path($rootfs) or return;
    for my $name (sort keys %kernel_types) {
        my $path = "$rootfs/$name";
        if (!lstat $path) {
            make($upper, [$name], sub { mkdir $path, 0755 }) or return;
        }
        my $place = SystemCalls::open_below($root, $name, O_DIRECTORY) or $@ = "/$name in the container is not a folder", return;
        (stat $place)[0] == (stat $root)[0] or $@ = "something is mounted on /$name", return;
    }
    return 1;
}

# What is mounted in the container's files, as its first process finds it: the runtime has made all mounts, and waits.
#
# @return what is wrong, if anything is.
sub find_stray_mounts {
    my ($rootfs, $process) = @_;
    open(my $mountinfo, '<', "/proc/$process/mountinfo") or return "mountinfo: $!";
    my %found;
    my $ordered = join '|', $kernel_folders, map { quotemeta substr $_, 1 } splice @targets;
    while (my $line = readline $mountinfo) {
        my ($id, $point, $type) = $line =~ /^(\d+) (?:\S+ ){3}(\S+) .*? - (\S+)/ or return 'mountinfo';
        $point =~ s/\\(\d{3})/chr oct $1/ge;
        $point =~ s{^\Q$rootfs\E(?=/)}{} or next;
        $found{$point} = [$id, $type];
        $point =~ m{^/(?:$ordered)(?:/|$)} or return "$point is mounted, and was not ordered";
    }
    my $root = SystemCalls::open_path("/proc/$process/root") or return "root: $!";
    for my $name (sort keys %kernel_types) {
        my ($id, $type) = @{ $found{"/$name"} // return "nothing is mounted on /$name" };
        $type eq $kernel_types{$name} or return "/$name is a $type";
        my $place = SystemCalls::open_below($root, substr("$rootfs/$name", 1), O_DIRECTORY) or return "/$name: $!";
        open(my $information, '<', '/proc/self/fdinfo/' . fileno $place) or return "fdinfo: $!";
        my ($seen) = join('', readline $information) =~ /^mnt_id:\s*(\d+)/m;
        $seen == $id or return "/$name is another mount";
    }
    return;
}

1;
