# The network of a container that may reach what lies outside of this host, for supervisor.pl.
#
# The container's network namespace and the host are the two ends of a veth pair; the host forwards and masquerades.
# The container can change none of it, for want of CAP_NET_ADMIN. Nothing of it is a file, and nothing outlives the run:
#
#   - the namespace is held by a mount that only the supervisor's mount namespace has, and takes the pair along;
#   - the pair's name is the lease of its addresses: the kernel gives a name once;
#   - the rules are in an nftables table with the flag "owner", which the kernel drops when the nft process that made it
#     ends, and which no "flush ruleset" of another program touches. That process is one of the supervisor's namespace.
#
# Rules that allow are of no use where another table on the host drops. So where iptables drops what is forwarded, as
# Docker has it do, two rules are put before that, once for all runs: they only name the pairs, and stay.
use strict;
use warnings;

# Of the pairs' two addresses each. Nothing else of a network is to lie in here: it cannot be reached.
my $subnet = '10.213.0.0/16';
my $pairs = 32768;

my ($link, $namespace, $firewall, $rules_end);

sub refuse { fail('network', $_[0]) }

# Hands these commands to a program, and waits for it.
sub feed {
    my ($text, @command) = @_;
    open(my $program, '|-', @command) or refuse("$command[0] cannot be run: $!");
    print $program $text;
    close $program or refuse();
}

# A pair with a name that nobody has; one end is in the namespace, as eth0. Its number makes its addresses.
sub add_pair {
    my $first = int rand $pairs;
    for my $try (0 .. 999) {
        my $number = ($first + $try) % $pairs;
        $link = "claimcheck$number";
        my @pair = (qw(type veth peer name eth0 netns), $namespace);
        return $number if system('ip', 'link', 'add', $link, @pair) == 0;
        system("ip link show dev $link >/dev/null 2>&1") == 0 or refuse();
    }
    refuse('no free address');
}

# The interfaces of the default routes, and the first one's MTU.
sub find_uplinks {
    my @names = map { /\bdev ([\w.:@-]+)/ ? $1 : () } qx(ip -4 route show default);
    my ($mtu) = @names ? qx(ip link show dev $names[0]) =~ /\bmtu (\d+)/ : ();
    return ($mtu // 1500, @names);
}

# What the container's packets meet on the host. The first chain sees them before any translation of addresses, the
# two after it once more afterwards, when they are for this host (input) or on their way through it (forward).
sub rules {
    my ($address, @uplinks) = @_;
    my $uplinks = join ', ', map { "\"$_\"" } @uplinks;
    # Containers of others are behind bridges and pairs; but a host may itself be a guest, and its uplink be one.
    my $way_out = @uplinks ? "oifname { $uplinks } accept;" : '';
    return <<"RULES" =~ s/\n\s*/ /gr;
table inet $link {
  flags owner;
  chain arriving {
    type filter hook prerouting priority raw;
    iifname != "$link" accept;
    ip saddr != $address drop;
    meta nfproto ipv6 drop;
    fib daddr type { local, broadcast, anycast, multicast } reject;
    ip daddr { 169.254.0.0/16, $subnet } reject;
  };
  chain entering { type filter hook input priority filter - 5; iifname "$link" reject; };
  chain passing {
    type filter hook forward priority filter - 5;
    oifname "$link" ct state != { established, related } drop;
    iifname != "$link" accept;
    ip daddr { 169.254.0.0/16, $subnet } reject;
    $way_out
    meta oifkind { "bridge", "veth" } reject;
  };
  chain leaving { type nat hook postrouting priority srcnat; ip saddr $address masquerade; };
}
RULES
}

# The process has to stay: the table is its own.
sub start_firewall {
    my ($rules) = @_;
    pipe(my $input, $rules_end) && pipe(my $said, my $output) or refuse($!);
    $firewall = fork // refuse($!);
    if (!$firewall) {
        open(STDIN, '<&', $input) && open(STDOUT, '>&', $output) && open(STDERR, '>&', $output) or exit 1;
        $ENV{HOME} = '/nonexistent';    # no history of what it was told
        exec 'nft', '--interactive' or print STDERR "Error: nft cannot be started: $!\n";
        exit 1;
    }
    close $output;
    await_process($firewall);
    syswrite $rules_end, "$rules\nlist table inet $link\n";
    while (my $line = readline $said) {
        return if $line eq "}\n";
        refuse($line =~ s/\n//r) if $line =~ /Error/;
    }
    refuse('nft ended');
}

# Lets pass what iptables' own last word would drop.
sub admit {
    return unless qx(iptables -w -S FORWARD 2>/dev/null) =~ /^-P FORWARD DROP$/m;
    for my $rule ('-i claimcheck+', '-o claimcheck+ -m conntrack --ctstate RELATED,ESTABLISHED') {
        my @words = (split(' ', $rule), qw(-j ACCEPT));
        system("iptables -w -C FORWARD @words 2>/dev/null") == 0
            or system('iptables', '-w', '-I', 'FORWARD', @words) == 0
            or refuse();
    }
}

# Other containers' packets to and fro need it too; Docker and podman turn it on as well.
sub forward_packets {
    my $switch = '/proc/sys/net/ipv4/ip_forward';
    open(my $now, '<', $switch) or refuse("$switch: $!");
    return if readline($now) == 1;
    open(my $on, '>', $switch) or refuse("$switch: $!");
    syswrite $on, "1\n" or refuse("$switch: $!");
}

# Makes the network namespace at a path that is an empty file.
sub make_network {
    ($namespace) = @_;
    # IPv6 has link-local addresses of its own, so there is none.
    my $switch = '/proc/sys/net/ipv6/conf/default/disable_ipv6';
    # It belongs to the container's user namespace, or the container could mount no /sys.
    my $made = sub {
        Users::enter_namespace() && SystemCalls::call('unshare', SystemCalls::CLONE_NEWNET()) or return;
        open(my $file, '>', $switch) or return $!{ENOENT};
        return syswrite $file, "1\n";
    };
    Users::in_child($made, sub { bind_namespace("/proc/$_[0]/ns/net", 'network') }) or refuse("its namespace: $!");
    my $number = add_pair();
    my ($gateway, $address) = map { sprintf '10.213.%d.%d', $number >> 7, ($number & 127) * 2 + $_ } 0, 1;
    my ($mtu, @uplinks) = find_uplinks();
    start_firewall(rules($address, @uplinks));
    admit();
    forward_packets();
    feed("address add $gateway/31 dev $link\nlink set $link mtu $mtu up\n", qw(ip -batch -));
    my @inside = ("address add $address/31 dev eth0", "link set eth0 mtu $mtu up", 'link set lo up');
    my $text = join "\n", @inside, "route add default via $gateway", '';
    feed($text, 'nsenter', "--net=$namespace", qw(ip -batch -));
}

# Whether this process was what holds the rules.
sub was_firewall { return $firewall && $_[0] == $firewall }

# After the end of all processes: what the kernel would only take away by and by.
sub end_network {
    $namespace or return;
    system("ip link delete $link 2>/dev/null") if $link;
    system('umount', '--lazy', '--', $namespace);
    unlink $namespace;
    undef $_ for $link, $namespace, $firewall, $rules_end;
}

1;
