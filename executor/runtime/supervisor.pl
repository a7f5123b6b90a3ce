# The process that stands between the executor and the containers of one run. It is process 1 of a pid namespace
# and the owner of a mount namespace, both made for it by unshare(1), and it promises:
#
#   - what holds plaintext lies in a tmpfs that only this mount namespace has, and is unlinked before the
#     container's first instruction;
#   - when the executor goes away, however it does, the container ends and nothing of the run stays;
#   - when this process goes away, however it does, the kernel ends the container and drops the mounts;
#   - nothing that a container made is followed (container-files.pl).
#
# Perl, because `runc run --detach` leaves the container's first process to the nearest process 1, and a shell
# cannot tell the exit status of a process that it did not start. perl-base is in every Debian.
#
#   unshare … perl supervisor.pl RUNTIME RUNS ID LOWER…
#
# RUNS is the folder of all runs; RUNS/ID/ is made, locked and removed here. LOWER are folders with files, the
# upper ones first, which stay as they are. Containers come one after the other: the N-th is called ID-N, and what
# it writes becomes RUNS/ID/N/upper. Descriptor 3 brings orders, one a line:
#
#   file SIZE MODE UID GID NAME  that many bytes follow; they become NAME in the bundle (MODE in octal)
#   place                   put among the next container's files what follows, one a line until "placed"; answer "placed":
#                             file PATH SIZE MODE UID GID   that many bytes follow (PATH percent-encoded)
#                             link PATH SIZE                that many bytes follow, which are where it points
#                             folder PATH 0 MODE UID GID    if there is none
#   bind NAME ROOT PATH     mount what is at PATH under ROOT (both percent-encoded) as NAME in the bundle
#   terminal COLUMNS ROWS   give the next container a terminal of this size: its output is OUT, and what comes by IN is
#                             typed
#   network                 make the network namespace BUNDLE/network for the next container (bridge.pl)
#   create INPUT            have the runtime make the container, and unlink what is in the bundle as soon as that waits to
#                             start the command. INPUT is 1, or 0 for /dev/null
#   start                   after "create": have it start the command; answer "started"
#   resize COLUMNS ROWS     give its terminal this size
#   signal NUMBER           send it to the container's first process
#   keep                    after "exited": take away what was only there to be mounted on; answer "kept"
#   next                    after "kept": put an empty layer on top; answer "ready"
#   layer PATH              after "ready": put the files of this folder below the empty layer; answer "ready". A shared
#                             lock on it is held until the end
#   (end of file)           the executor is gone
#
# Descriptor 4 takes the answers: "ready IN OUT ERR", "placed", "started", "exited CODE" (128 + n after signal n), "kept".
# "failed STEP" comes instead of any of them; the reason, ours or the runtime's, is the last line on descriptor 2.
#
# IN, OUT and ERR are descriptors of this process, where the executor finds its ends of the next container's pipes. It opens
# them before it orders the container. (Pipes, because what Node.js makes are sockets: a container cannot open /dev/stdout
# where that is a socket, and reads of them are slow. Without names, because whoever opened /dev/stdin by a name after the
# writer's end would wait for another.) Descriptor 1 is where the executor writes to: if that is a pipe it is made larger.
#
# The runtime waits in a hook, which a configuration has to name: `createRuntime` is when all mounts are made and nothing of
# the container has run. It is a shell that tells its state through BUNDLE/state, and goes on at a line of
# BUNDLE/start.
use strict;
use warnings;
use Fcntl qw(O_CREAT O_DIRECTORY O_EXCL O_NOFOLLOW O_RDONLY O_WRONLY LOCK_EX LOCK_NB LOCK_SH S_IMODE);
use Errno qw(EINTR);

my ($here) = $0 =~ m{^(.*/)};
require "${here}system-calls.pl";
require "${here}container-files.pl";

# Linux's; module POSIX would take longer to load than the rest of this takes.
use constant { WNOHANG => 1, F_SETPIPE_SZ => 1031, MNT_DETACH => 2 };

my ($runtime, $runs, $id, @lower) = @ARGV;
my ($dir, $lock);
my $count = 0;
my (@files, @held);
my ($states, $go);
my ($input, $output, $errors);
my ($runtime_process, $reasons_to_wait, $init, $code, @signals);
my ($console, @size, $terminal);

# In a user namespace the overlay's own marks are other attributes, and there are no cgroups.
open(my $uids, '<', '/proc/self/uid_map') or die "uid_map: $!\n";
my $ours = readline($uids) =~ /^\s*0\s+0\s/ ? '' : 'userxattr,';

# finish() kills every process it can see.
$$ == 1 or die "not process 1 of a namespace\n";

$^F = 2;    # 3 and 4 are for us alone
open(my $orders,  '<&=', 3) or die "descriptor 3: $!\n";
open(my $answers, '>&=', 4) or die "descriptor 4: $!\n";
open(my $reasons, '>&', 2) or die "descriptor 2: $!\n";

# As large as Linux lets everybody have it: fewer turns between who writes and who reads. Node.js cannot ask for it.
sub enlarge { fcntl $_[0], F_SETPIPE_SZ, 1048576 }

enlarge(\*STDOUT);
open(STDOUT, '>&', $reasons) or die "descriptor 1: $!\n";
umask 077;

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
    my ($run) = @_;
    my $cgroups = '/sys/fs/cgroup';
    for my $group (map { "$cgroups/$_/claimcheck" } '.', names_in($cgroups)) {
        for my $name (grep { /^$run-/ } names_in($group)) {
            # Busy while something in it is still ending: the folder stays too then, and the next sweep tries again.
            rmdir "$group/$name" or !-d "$group/$name" or return;
        }
    }
    rmdir "$runs/$run" or system('rm', '-rf', '--one-file-system', '--', "$runs/$run");
}

sub sweep {
    for my $run (grep { /^[0-9a-f]+$/ && $_ ne $id } names_in($runs)) {
        my $handle = claim("$runs/$run", LOCK_EX | LOCK_NB) or next;
        discard($run);
    }
}

sub answer { syswrite $answers, "@_\n" }

# Their network goes with them.
sub end_all {
    kill 'KILL', -1;    # as process 1: everything in this namespace
    1 while wait != -1;
    end_network() if defined &end_network;
}

sub finish {
    exit 1 if $$ != 1;    # a child of ours only goes
    end_all();
    exit 0 if !$lock;
    SystemCalls::umount("$dir/$_", MNT_DETACH) for qw(rootfs bundle);
    remove_made("$dir/$count/upper");
    # Where nothing was left, nobody has to be asked to remove it: a program takes longer to start.
    for my $layer (map { "$dir/$_" } 1 .. $count) {
        unlink "$layer/work/work/incompat/volatile/dirty";    # overlayfs' own
        rmdir "$layer/$_" for qw(work/work/incompat/volatile work/work/incompat work/work work upper);
    }
    rmdir "$dir/$_" for qw(bundle rootfs), 1 .. $count;
    discard($id);
    exit 0;
}

# The reason goes to the executor.
sub fail {
    my ($step, $reason) = @_;
    print STDERR "$reason\n" if $reason;
    answer('failed', $step);
    finish();
}

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

sub keep_file {
    my ($size, $mode, $uid, $gid, $name) = @_;
    push @files, "$dir/bundle/$name";
    make_file($files[-1], $size, $mode, $uid, $gid) or fail('file', $!);
}

sub open_pipe {
    pipe(my $reads, my $writes) or fail('pipes', $!);
    return { reads => $reads, writes => $writes };
}

# A layer for the next container.
sub add_layer {
    $count++;
    for my $part ($count, "$count/upper", "$count/work") {
        mkdir "$dir/$part" or fail('prepare', $!);
    }
    # Short names, because the kernel has a page for all of them.
    chdir $dir or fail('prepare', $!);
    # The container's / is the layer's own folder, not the image's: it takes over who may enter it.
    my ($mode, $uid, $gid) = (stat $lower[0])[2, 4, 5];
    chown $uid, $gid, "$count/upper" and chmod S_IMODE($mode), "$count/upper" or fail('prepare', $!);
    my $lower = join ':', map { s/([\\:,])/\\$1/gr } @lower;
    # volatile: what the container writes is thrown away or copied, so nobody needs to wait for the disk.
    # A layer is complete in itself: nothing in it points to what is below.
    my $options = "volatile,redirect_dir=nofollow,metacopy=off,index=off,${ours}lowerdir=$lower,upperdir=$count/upper,workdir=$count/work";
    SystemCalls::mount('overlay', 'rootfs', 'overlay', 0, $options) or fail('rootfs', "overlay: $!");
    chdir '/';
    ($input, $output, $errors) = map { open_pipe() } 1 .. 3;
    enlarge($_->{writes}) for $output, $errors;
    answer('ready', fileno $input->{writes}, fileno $output->{reads}, fileno $errors->{reads});
}

# A cached step's files take the place of its container.
sub put_below {
    my ($path) = @_;
    push @held, claim($path, LOCK_SH | LOCK_NB) || fail('layer', $!);
    SystemCalls::umount("$dir/rootfs", 0) or fail('layer', $!);
    unshift @lower, '/proc/self/fd/' . fileno $held[-1];
    add_layer();
}

# How the runtime's hook and this process speak to each other.
sub open_gate {
    my ($told, $awaited) = map { open_pipe() } 1 .. 2;
    ($states, $go) = ($told->{reads}, $awaited->{writes});
    my %ends = (state => $told->{writes}, start => $awaited->{reads});
    push @held, values %ends;
    symlink '/proc/1/fd/' . fileno $ends{$_}, "$dir/bundle/$_" or fail('prepare', $!) for keys %ends;
}

sub prepare {
    for (1 .. 100) {
        # It may be there, and held, while another run's sweep takes it away: then that is waited for.
        mkdir "$runs/$id" or $!{EEXIST} or last;
        last if $lock = claim("$runs/$id", LOCK_EX);
    }
    $lock or fail('claim', $!);
    $dir = "$runs/$id";
    for my $part (qw(bundle rootfs)) {
        mkdir "$dir/$part" or fail('prepare', $!);
    }
    # tmpfs stays out of swap from Linux 6.4 on; ramfs is never swapped, but its size has no bound.
    SystemCalls::mount('tmpfs', "$dir/bundle", 'tmpfs', 0, 'mode=0700,noswap')
        or SystemCalls::mount('ramfs', "$dir/bundle", 'ramfs', 0, 'mode=0700')
        or fail('bundle', $!);
    open_gate();
    add_layer();
}

# Where the runtime sends it.
sub prepare_terminal {
    @size = @_;
    require "${here}terminal.pl";
    $console = Terminal::listen_at("$dir/bundle/console") or fail('terminal', $!);
    push @files, "$dir/bundle/console";
}

sub take_terminal {
    $terminal = Terminal::accept_from($console, $output->{writes}, $input->{reads}) or fail('terminal', $!);
    $terminal->resize(@size) or fail('terminal', $!);
    undef $console;
}

sub resize {
    @size = @_;
    $terminal->resize(@size) if $terminal;
}

sub open_network {
    require "${here}bridge.pl";
    my $path = "$dir/bundle/network";
    sysopen(my $file, $path, O_WRONLY | O_CREAT, 0600) or fail('network', $!);
    make_network($path);
}

# The runtime's log as reasons; what it writes beside its log goes the container's way.
sub show_log {
    open(my $log, '<', "$dir/bundle/log") or return;
    print STDERR readline $log;
}

sub run_runtime {
    my ($has_input) = @_;
    my @log = ('--log', "$dir/bundle/log", '--log-format', 'json');
    my @sends = $console ? ('--console-socket', "$dir/bundle/console") : ();
    my $in = $has_input && !$console ? $input->{reads} : undef;
    open(STDIN, '<&', $in) or exit 1 if $in;
    open(STDOUT, '>&', $output->{writes}) && open(STDERR, '>&', $errors->{writes}) or exit 1;
    my @command = ('run', '--detach', @sends, '--bundle', "$dir/bundle", "$id-$count");
    no warnings 'exec';
    exec $runtime, '--root', "$dir/bundle/runtime", @log, @command
        or syswrite $reasons, "$runtime cannot be started: $!\n";
    exit 127;
}

# From here on only the container holds the pipes, and their end is its end. For a terminal's container they are held.
sub create {
    my ($has_input) = @_;
    @signals = ();
    $reasons_to_wait = 2;
    $runtime_process = fork // fail('create', $!);
    run_runtime($has_input) if $runtime_process == 0;
    delete $_->{reads} for $output, $errors;
    delete $input->{writes};
    undef $_ for $errors, $console ? () : ($input, $output);
}

# The runtime waits in its hook. After the unlink the plaintext is in the container and nowhere else.
sub take_state {
    my $state = '';
    1 while $state !~ /\n/ && sysread $states, $state, 4096, length $state;
    ($init) = $state =~ /"pid":\s*(\d+)/ or fail('create', 'the runtime tells no process');
    for my $file (splice @files) {
        unlink $file or fail('unlink', $!);
    }
    note_made("$dir/$count/upper");
    release();
}

# Both have to be there, the unlink and the order.
sub release { --$reasons_to_wait or syswrite $go, "\n" }

# Until the runtime is done, the first process is its own and would take them for itself.
sub send_signals {
    kill $_, $init for $runtime_process || !$init ? () : splice @signals;
}

# The next container finds what this one wrote.
sub keep {
    SystemCalls::umount("$dir/rootfs", 0) or fail('keep', $!);
    remove_made("$dir/$count/upper");
    unshift @lower, "$count/upper";
    answer('kept');
}

# Waits for the container's end, for orders and for what passes its terminal, whichever comes.
pipe(my $child_ended, my $wake) or die "pipe: $!\n";
$SIG{CHLD} = sub { syswrite $wake, '.' };

sub reap {
    sysread $child_ended, my $dots, 4096;
    while ((my $pid = waitpid(-1, WNOHANG)) > 0) {
        fail('network', 'its rules are gone') if defined &was_firewall && was_firewall($pid);
        if ($runtime_process && $pid == $runtime_process) {
            undef $runtime_process;
            if ($?) { show_log(); fail('create') }
            $init || defined $code or fail('create', 'the runtime runs no hooks');
            take_terminal() if $console;
            answer('started');
        } elsif ($init && $pid == $init) {
            undef $init;
            $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
        }
    }
    send_signals();
    return if $runtime_process || !defined $code;
    end_all();
    $terminal->drain() if $terminal;
    undef $_ for $terminal, $input, $output;
    answer('exited', $code);
    undef $code;
}

prepare();
sweep();
while (1) {
    my ($ready, $room) = ('', '');
    vec($ready, fileno $_, 1) = 1 for $orders, $child_ended, $states, $terminal ? $terminal->sources() : ();
    vec($room,  fileno $_, 1) = 1 for $terminal ? $terminal->sinks() : ();
    next if select($ready, $room, undef, undef) < 0;
    # Nobody reads: the container learns of it as on any terminal that is hung up.
    $terminal->relay() or undef $terminal if $terminal;
    take_state() if vec($ready, fileno $states, 1);
    reap() if vec($ready, fileno $child_ended, 1);
    next unless vec($ready, fileno $orders, 1);
    my ($verb, @words) = split ' ', order() // finish();
    if    ($verb eq 'file')     { keep_file(@words) }
    elsif ($verb eq 'place')    { place("$dir/rootfs", "$dir/$count/upper") }
    elsif ($verb eq 'bind')     { bind_mount("$dir/bundle/$words[0]", map { s/%(..)/chr hex $1/ger } @words[1, 2]) }
    elsif ($verb eq 'terminal') { prepare_terminal(@words) }
    elsif ($verb eq 'network')  { open_network() }
    elsif ($verb eq 'create')   { create(@words) }
    elsif ($verb eq 'start')    { release() }
    elsif ($verb eq 'resize')   { resize(@words) }
    elsif ($verb eq 'signal')   { push @signals, @words; send_signals() }
    elsif ($verb eq 'keep')     { keep() }
    elsif ($verb eq 'next')     { add_layer() }
    elsif ($verb eq 'layer')    { put_below(@words) }
}
