# The folders of runs, for supervisor.pl: whose they are, and how what a run left is taken away.
use strict;
use warnings;
use Fcntl qw(O_DIRECTORY O_NOFOLLOW O_RDONLY LOCK_EX LOCK_NB);

# A run's folder belongs to whoever holds the lock on it. A folder that is new may be swept between its
# making and its locking, so what was locked has to be what the name still stands for.
sub claim {
    my ($path, $operation) = @_;
    sysopen(my $handle, $path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) or return;
    flock($handle, $operation) or return;
    my @held = stat $handle;
    my @named = lstat $path;
    return $handle if @named && $held[0] == $named[0] && $held[1] == $named[1];
    return;
}

sub names_in {
    my ($path) = @_;
    opendir(my $folder, $path) or return;
    return grep { !/^\.\.?$/ } readdir $folder;
}

# Removes what a run leaves on the host. Nothing in here is followed: rm and rmdir take names as they are.
sub discard {
    my ($runs, $run) = @_;
    Cgroups::remove($run) or return;    # then the folder stays too, and the next sweep tries again
    rmdir "$runs/$run" or system('rm', '-rf', '--one-file-system', '--', "$runs/$run");
}

# Takes away what is left of runs whose supervisor is gone, but for one.
sub sweep {
    my ($runs, $id) = @_;
    for my $run (grep { /^[0-9a-f]+$/ && $_ ne $id } names_in($runs)) {
        my $handle = claim("$runs/$run", LOCK_EX | LOCK_NB) or next;
        discard($runs, $run);
    }
}

1;
