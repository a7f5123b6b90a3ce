# Process 1 of a container, for supervisor.pl: it takes in what others leave behind, and does nothing else. The command is
# process 2, to which signals do what they do everywhere. (The kernel keeps from a process 1 each signal that it has no
# handler for: a command as process 1 neither ends at SIGTERM nor when nobody reads its output any more.)
#
# It is one of ours and not a program of the container's: it is made before the container, holds none of its files, and has a
# user that the container's root is not.
package Init;
use strict;
use warnings;

# Starts it. @return its process, and with it the pid namespace; nothing with the reason in $!.
sub start {
    pipe(my $told, my $tells) or return;
    my $child = fork // return;
    if (!$child) {
        my $made = Users::enter_namespace() && SystemCalls::call('unshare', SystemCalls::CLONE_NEWPID());
        my $init = $made ? fork : undef;
        run() if defined $init && !$init;
        syswrite $tells, $init ? "$init" : '-' . ($! + 0);
        exit 0;
    }
    close $tells;
    sysread $told, my $answer, 16;
    waitpid $child, 0;
    return $answer if ($answer // 0) > 0;
    $! = -($answer // 0);
    return;
}

sub run {
    $0 = 'init';
    $SIG{CHLD} = 'IGNORE';    # then the kernel takes them in
    SystemCalls::call('close_range', 0, 0x7fffffff, 0);
    select undef, undef, undef, undef while 1;
}

1;
