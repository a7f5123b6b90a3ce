# Where a run's containers write, if a plan or this host bounds how much: a file system of the run's own, which is as large
# as that and has as many inodes. Who fills it gets ENOSPC, by the kernel's own reckoning: for sparse files, hard links, files
# that are open and have no name any more, and whatever else.
#
# It is ext4 in a file with holes, on a loop device. The file has no name, the device is freed with its last user, and nobody
# else's mount namespace has the mount, so nothing stays when this process goes away. Nothing in it has to outlive that, so
# it has no journal, and nobody waits for the disk.
#
# Where the host's disk gets full before it, what was written is lost when the kernel moves it out of memory. The run
# fails then: is_whole() and flush() tell of it.
package Storage;
use strict;
use warnings;
use Errno qw(EBUSY);
use Fcntl qw(O_CREAT O_DIRECTORY O_EXCL O_RDONLY O_RDWR);

# Linux's (linux/loop.h, linux/fs.h).
use constant {
    LOOP_CTL_GET_FREE => 0x4C82, LOOP_CONFIGURE => 0x4C0A, LO_FLAGS_AUTOCLEAR => 4,
    FS_IOC_SHUTDOWN => 0x8004587D, SHUTDOWN_NOLOGFLUSH => 2,
    MS_NOSUID => 2, MS_NODEV => 4, MNT_DETACH => 2,
};

my ($file, $maker, $top);

# Begins to make it, which another core can do meanwhile. @param folder on the file system that has room for it.
sub begin {
    my ($folder, $size, $inodes) = @_;
    my $path = "$folder/storage";
    sysopen($file, $path, O_RDWR | O_CREAT | O_EXCL, 0600) && unlink($path) && truncate($file, $size) or return;
    $maker = fork // return;
    return 1 if $maker;
    open(STDIN, '+<&', $file) or exit 1;
    $ENV{PATH} = join ':', grep { length } $ENV{PATH}, '/usr/sbin:/sbin';
    # Nothing is reserved for root, and what is not written yet is zero as it is.
    no warnings 'exec';
    my $features = '^has_journal,^resize_inode,sparse_super2';
    my $extended = 'lazy_itable_init=1,nodiscard,num_backup_sb=0';
    exec 'mke2fs', qw(-q -F -t ext4 -b 4096 -m 0), '-N', $inodes, '-O', $features, '-E', $extended, '/proc/self/fd/0'
        or print STDERR "mke2fs, of e2fsprogs, cannot be run: $!\n";
    exit 127;
}

# Mounts it. @return a copy of the mount, attached nowhere; else the reason is in $@, or was printed.
sub finish {
    my ($folder) = @_;
    $@ = '';
    waitpid $maker, 0;
    return if $?;
    my ($device, $path) = attach_loop() or return;
    mkdir $folder or $@ = $!, return;
    SystemCalls::mount($path, $folder, 'ext4', MS_NOSUID | MS_NODEV, 'noinit_itable,nobarrier,errors=remount-ro')
        or $@ = "ext4 on $path: $!", return;
    sysopen($top, $folder, O_RDONLY | O_DIRECTORY) or $@ = $!, return;
    my $mount = SystemCalls::copy_mount($top);
    SystemCalls::umount($folder, MNT_DETACH) && rmdir $folder or $@ = $!, return;
    undef $file;
    return $mount;
}

# A device for the file, freed with its last user. Somebody else may take the one that was free.
sub attach_loop {
    open(my $control, '+<', '/dev/loop-control') or $@ = "/dev/loop-control: $!", return;
    for (1 .. 1000) {
        my $number = ioctl $control, LOOP_CTL_GET_FREE, 0;
        defined $number or $@ = "a free loop device: $!", return;
        my $path = '/dev/loop' . ($number + 0);
        open(my $device, '+<', $path) or $@ = "$path: $!", return;
        # struct loop_config, with struct loop_info64 in it.
        my $settings = pack 'L2 x52 L x240', fileno $file, 0, LO_FLAGS_AUTOCLEAR;
        return ($device, $path) if ioctl $device, LOOP_CONFIGURE, $settings;
        $! == EBUSY or $@ = "$path: $!", return;
    }
    $@ = 'other programs take every free loop device';
    return;
}

# Whether all that the kernel moved out of memory so far could be stored. An overlay that is `volatile` answers so, and
# moves nothing.
sub is_whole {
    my ($overlay) = @_;
    sysopen(my $folder, $overlay, O_RDONLY | O_DIRECTORY) or return;
    return SystemCalls::call('fsync', fileno $folder);
}

# Stores all. @return whether it could.
sub flush { return SystemCalls::call('syncfs', fileno $top) }

# Has nothing of it be stored any more: the run is over, and nobody waits for that.
sub drop {
    return if !$top;
    my $how = pack 'L', SHUTDOWN_NOLOGFLUSH;
    ioctl $top, FS_IOC_SHUTDOWN, $how;
    undef $top;
}

1;
