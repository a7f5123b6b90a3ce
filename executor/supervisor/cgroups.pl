# The cgroups of a run's containers, in every hierarchy of this host, for supervisor.pl. The runtime makes them.
package Cgroups;
use strict;
use warnings;

my $root = '/sys/fs/cgroup';

# The folders of a run's containers.
sub folders {
    my ($run) = @_;
    my @parents = map { "$root/$_/claimcheck" } '.', main::names_in($root);
    return map { my $parent = $_; map { "$parent/$_" } grep { /^$run-/ } main::names_in($parent) } @parents;
}

sub write_to {
    my ($file, $text) = @_;
    open(my $handle, '+<', $file) or return;
    syswrite $handle, $text;
}

# Lets go on what was stopped: it could not be killed.
sub thaw {
    for my $folder (folders($_[0])) {
        write_to("$folder/freezer.state", 'THAWED');
        write_to("$folder/cgroup.freeze", '0');
    }
}

# Ends what may still be in them, of a run whose supervisor is gone, and removes them. @return whether none is left.
sub remove {
    my ($run) = @_;
    thaw($run);
    for my $folder (folders($run)) {
        write_to("$folder/cgroup.kill", '1');
        # Busy while something in it is still ending.
        rmdir $folder or !-d $folder or return;
    }
    return 1;
}

1;
