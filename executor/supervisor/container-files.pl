# What supervisor.pl does to files that a container may have made, or will find. Nothing in here follows a link of
# theirs: paths are walked one name at a time, or by a process that has the container's files for its root.
use strict;
use warnings;
use Fcntl qw(O_DIRECTORY O_NOFOLLOW O_RDONLY);

# Opens a folder as the current one: $path under $top, link or no link.
sub enter {
    my ($top, $path) = @_;
    chdir $top or return;
    for my $name (grep { length } split '/', $path) {
        sysopen(my $folder, $name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) or return;
        chdir $folder or return;
    }
    return 1;
}

# Runs in a child, whose / are the container's files, and who is its root: a link that an earlier container left can lead
# nowhere else. In there nothing may be loaded, neither a module nor what the C library wants to put an error into words, so an error goes
# out as a number.
sub place_all {
    my ($rootfs) = @_;
    my $failed = sub {
        my $error = $! + 0 || 255;
        print STDERR "$_[0]: ";
        exit $error;
    };
    @INC = ();
    chroot $rootfs and chdir '/' or $failed->('chroot');
    Users::become_root() or $failed->('user namespace');
    while ((my $line = order() // exit 1) ne 'placed') {
        my ($kind, $path, $size, $mode, $uid, $gid) = split ' ', $line;
        $path =~ s/%(..)/chr hex $1/ge;
        my $around = '';
        for my $name (grep { length } split '/', $path =~ s{[^/]+$}{}r) {
            $around .= "/$name";
            -d $around or mkdir $around or $failed->($path);
        }
        if ($kind eq 'folder') {
            -d $path or mkdir $path and chown $uid, $gid, $path and chmod oct $mode, $path or $failed->($path);
            next;
        }
        unlink $path or $!{ENOENT} or $failed->($path);
        if ($kind eq 'file') {
            make_file($path, $size, $mode, $uid, $gid) or $failed->($path);
            next;
        }
        my $target = '';
        receive($size, sub { $target .= $_[0] });
        symlink $target, $path or $failed->($path);
    }
    exit 0;
}

sub place {
    my ($rootfs) = @_;
    my $child = fork // fail('place', $!);
    place_all($rootfs) if $child == 0;
    waitpid $child, 0;
    if ($?) { $! = $? >> 8; fail('place', "$!") }
    answer('placed');
}

1;
