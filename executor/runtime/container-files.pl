# What supervisor.pl does to files that a container may have made, or will find. Nothing in here follows a link of
# theirs: paths are walked one name at a time, or by a process that has the container's files for its root.
use strict;
use warnings;
use Fcntl qw(O_CREAT O_DIRECTORY O_EXCL O_NOFOLLOW O_RDONLY O_WRONLY S_ISDIR);

# Linux's, as mount(2) and open(2) name them.
use constant { O_PATH => 010000000, MS_BIND => 4096, MS_REC => 16384 };

my (@made, %placed);

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

# Runs in a child, whose / are the container's files: a link that an earlier container left can lead nowhere else. In
# there nothing may be loaded, neither a module nor what the C library wants to put an error into words, so an error goes
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
    umask 022;
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

# What is there before the runtime makes what it needs is not to be taken away with that.
sub place {
    my ($rootfs, $upper) = @_;
    my $child = fork // fail('place', $!);
    place_all($rootfs) if $child == 0;
    waitpid $child, 0;
    if ($?) { $! = $? >> 8; fail('place', "$!") }
    note_made($upper);
    $placed{"$_->{folder}/$_->{name}"} = 1 for splice @made;
    answer('placed');
}

# What the runtime made to mount on: before the container's first instruction, all that its layer holds.
sub note_made {
    my ($upper) = @_;
    note_folder($upper, '');
    chdir '/';
}

sub note_folder {
    my ($upper, $path) = @_;
    enter($upper, $path) or return;
    opendir(my $folder, '.') or return;
    my @entries = map { [$_, lstat $_] } grep { !/^\.\.?$/ } readdir $folder;
    for my $entry (@entries) {
        my ($name, $device, $inode, $mode, undef, $uid, $gid) = @$entry;
        note_folder($upper, "$path/$name") if S_ISDIR($mode);
        push @made, { folder => $path, name => $name, was => "$inode $mode $uid $gid" } unless $placed{"$path/$name"};
    }
}

# Takes away of it what the container left as it was: empty files and empty folders, by name, from inside the
# folder that they are in.
sub remove_made {
    my ($upper) = @_;
    for my $thing (@made) {
        enter($upper, $thing->{folder}) or next;
        my (undef, $inode, $mode, undef, $uid, $gid, undef, $size) = lstat $thing->{name} or next;
        next if "$inode $mode $uid $gid" ne $thing->{was};
        if    (S_ISDIR($mode)) { rmdir $thing->{name} }
        elsif ($size == 0)     { unlink $thing->{name} }
    }
    chdir '/';
    @made = ();
    %placed = ();
}

# Mounts what is at $path under $root. No link under $root is followed, and it stays what was opened, whatever becomes of
# its name.
sub bind_mount {
    my ($target, $root, $path) = @_;
    my $refuse = sub { chdir '/'; fail('bind', "$path in $root: $_[0]") };
    my @names = grep { length } split '/', $path;
    my $last = pop @names // '.';
    enter($root, join '/', @names) or $refuse->($!);
    sysopen(my $source, $last, O_PATH | O_NOFOLLOW) or $refuse->($!);
    if    (-d $source) { mkdir $target or $refuse->($!) }
    elsif (-f _)       { sysopen(my $made, $target, O_WRONLY | O_CREAT | O_EXCL, 0600) or $refuse->($!) }
    else               { $refuse->('neither a file nor a folder') }
    my $opened = '/proc/self/fd/' . fileno $source;
    SystemCalls::mount($opened, $target, '', MS_BIND | MS_REC, '') or $refuse->($!);
    chdir '/';
}

1;
