# The executor's orders as supervisor.pl reads them, from descriptor 3: lines, and bytes that follow some of them.
use strict;
use warnings;
use Errno qw(EINTR);
use Fcntl qw(O_CREAT O_EXCL O_WRONLY);

open(my $orders, '<&=', 3) or die "descriptor 3: $!\n";

sub orders { return $orders }

# One line, read a byte at a time so that the bytes after it stay where they are.
sub order {
    my $line = '';
    while (1) {
        my $n = sysread $orders, my $byte, 1;
        next if !defined $n && $!{EINTR};
        return unless $n;
        return $line if $byte eq "\n";
        $line .= $byte;
    }
}

# The bytes that follow an order, handed on piece by piece and forgotten.
sub receive {
    my ($size, $take) = @_;
    my $buffer = '';
    while ($size > 0) {
        my $n = sysread $orders, $buffer, $size < 65536 ? $size : 65536;
        next if !defined $n && $!{EINTR};
        finish() unless $n;
        $take->($buffer);
        $size -= $n;
        substr($buffer, 0, $n, "\0" x $n);
    }
}

# Makes a file of the bytes that follow. What is there already is not written to. @return whether it could, else why in $!.
sub make_file {
    my ($path, $size, $mode, $uid, $gid) = @_;
    sysopen(my $out, $path, O_WRONLY | O_CREAT | O_EXCL, 0600) or return;
    my $good = 1;
    receive($size, sub {
        for (my $sent = 0; $good && $sent < length $_[0];) {
            my $n = syswrite $out, $_[0], length($_[0]) - $sent, $sent;
            $sent += $n // 0;
            $good = defined $n;
        }
    });
    return $good && chown($uid, $gid, $out) && chmod(oct $mode, $out) && close $out;
}

# What is percent-encoded in a line.
sub decoded { return $_[0] =~ s/%(..)/chr hex $1/ger }

1;
