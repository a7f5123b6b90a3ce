# A container's terminal, for supervisor.pl, which loads this only where one is wanted.
#
#   container ── terminal ─┬─▶ screen ──▶ executor     what the container prints
#                          └─◀ keys ◀──── executor     what the user types
#
# The runtime makes the terminal in the container's own devpts and sends its other side over a socket, as a
# descriptor (SCM_RIGHTS). Node.js cannot receive one, and Perl can by the number of the system call. Bytes go through
# here from then on, because the executor's ends are pipes. Neither direction waits for the other, nor this process
# for either: what cannot be written yet is kept, and nothing more is read meanwhile.
#
# What fails here gives nothing, with the reason in $!.
package Terminal;
use strict;
use warnings;
use Errno qw(EINVAL);
use Fcntl;

# Linux's.
use constant {
    AF_UNIX          => 1,
    SOCK_STREAM      => 1,
    SOL_SOCKET       => 1,
    SCM_RIGHTS       => 1,
    MSG_CMSG_CLOEXEC => 0x40000000,
    TIOCSWINSZ       => 0x5414,
    TIOCGPTPEER      => 0x5441,
};

# Where the runtime will send to.
sub listen_at {
    my ($path) = @_;
    socket(my $console, AF_UNIX, SOCK_STREAM, 0) or return;
    bind($console, pack 'S Z*', AF_UNIX, $path) && listen($console, 1) or return;
    fcntl $console, F_SETFL, O_NONBLOCK or return;
    return $console;
}

# The descriptor that comes with a message: struct msghdr, one struct iovec, room for one struct cmsghdr.
sub receive_descriptor {
    my ($socket) = @_;
    my ($name, $control) = map { "\0" x $_ } 4096, 24;
    my $vector = pack 'P Q', $name, length $name;
    my $message = pack 'x16 P Q P Q x8', $vector, 1, $control, length $control;
    SystemCalls::call('recvmsg', fileno $socket, $message, MSG_CMSG_CLOEXEC) or return;
    my (undef, $level, $type, $descriptor) = unpack 'Q i i i', $control;
    return $descriptor if $level == SOL_SOCKET && $type == SCM_RIGHTS;
    $! = EINVAL;
    return;
}

# The terminal of a container that was created. Without keys nobody types.
sub accept_from {
    my ($console, $screen, $keys) = @_;
    accept(my $connection, $console) or return;
    my $descriptor = receive_descriptor($connection) // return;
    open(my $terminal, '+<&=', $descriptor) or return;
    # The container's side of it: a container that closes its terminal may open it again.
    my $slave = ioctl $terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY or return;
    open(my $held, '+<&=', $slave) or return;
    for my $handle (grep { defined } $terminal, $screen, $keys) {
        fcntl $handle, F_SETFL, O_NONBLOCK or return;
    }
    my @ways = ({ from => $terminal, to => $screen, bytes => '' });
    push @ways, { from => $keys, to => $terminal, bytes => '' } if $keys;
    return bless { terminal => $terminal, held => $held, screen => $ways[0], ways => \@ways };
}

sub resize {
    my ($self, $columns, $rows) = @_;
    return ioctl $self->{terminal}, TIOCSWINSZ, pack 'S4', $rows, $columns, 0, 0;
}

# Moves bytes one step on. False when that cannot be now; `over` says that it will never be.
sub move {
    my ($way) = @_;
    my $reads = $way->{bytes} eq '';
    my $n = $reads ? sysread $way->{from}, $way->{bytes}, 65536 : syswrite $way->{to}, $way->{bytes};
    $way->{over} = defined $n ? $n == 0 : !($!{EAGAIN} || $!{EINTR});
    if    (!$n)     { $way->{bytes} = '' if $reads }
    elsif (!$reads) { substr $way->{bytes}, 0, $n, '' }
    return $n;
}

# What to wait for until there is something to relay.
sub sources { return map { $_->{from} } grep { $_->{bytes} eq '' } @{ $_[0]{ways} } }
sub sinks   { return map { $_->{to} } grep { $_->{bytes} ne '' } @{ $_[0]{ways} } }

# Moves what can be moved now. False when nobody reads the screen any more.
sub relay {
    my ($self) = @_;
    move($_) && move($_) for @{ $self->{ways} };
    @{ $self->{ways} } = grep { !$_->{over} } @{ $self->{ways} };
    return !$self->{screen}{over};
}

# After the container's end: what it printed last goes out, as slowly as it is read.
sub drain {
    my ($self) = @_;
    undef $self->{held};
    fcntl $self->{screen}{to}, F_SETFL, 0;
    1 while move($self->{screen});
}

1;
