# The process that stands between the executor and the containers of one run. It is process 1 of a pid namespace
# and the owner of a mount namespace, both made for it by unshare(1), and it promises:
#
#   - what holds plaintext lies in a tmpfs that only this mount namespace has, and is unlinked before the
#     container's first instruction;
#   - when the executor goes away, however it does, the container ends and nothing of the run stays;
#   - when this process goes away, however it does, the kernel ends the container and drops the mounts;
#   - nothing that a container made is followed: its paths are walked one name at a time.
#
# Perl, because `runc create` leaves the container's first process to the nearest process 1, and a shell
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
#   input                   make a pipe for the next container's standard input, which is /dev/null otherwise; answer
#                           "input FD", the descriptor of this process where the executor finds the writing end
#   terminal COLUMNS ROWS   give the next container a terminal of this size: its output is stdout, and what comes by
#                           the input is typed
#   network                 make the network namespace BUNDLE/network for the next container (bridge.pl)
#   create                  create the container and unlink what is in the bundle; answer "created"
#   start                   after "created": start its command
#   resize COLUMNS ROWS     give its terminal this size
#   signal NUMBER           send it to the container's first process
#   keep                    after "exited": take away what was only there to be mounted on; answer "kept"
#   next                    after "kept": put an empty layer on top; answer "ready"
#   layer PATH              after "ready": put the files of this folder below the empty layer; answer "ready". A shared
#                           lock on it is held until the end
#   (end of file)           the executor is gone
#
# Descriptor 4 takes the answers: "ready", "created", then "exited CODE" (128 + n after signal n).
# "failed STEP" comes instead of any of them; the reason, ours or the runtime's, is the last line on descriptor 2.
#
# What a container prints goes into the named pipes RUNS/ID/stdout and stderr, which the executor has opened when it
# orders the container. (Named, because the pipes that Node.js makes are sockets: a container cannot open /dev/stdout where
# that is a socket, and reads of them are slow. The input's has no name: whoever opened /dev/stdin after its end would
# wait for another writer.) Descriptor 1 is where the executor writes to: if that is a pipe it is made larger.
use strict;
use warnings;
use Fcntl qw(:DEFAULT :flock :mode);
use Errno qw(EINTR);

# Linux's; module POSIX would take longer to load than the rest of this takes.
use constant { WNOHANG => 1, F_SETPIPE_SZ => 1031, O_PATH => 010000000 };

my ($runtime, $runs, $id, @lower) = @ARGV;
my ($dir, $lock);
my $count = 0;
my (@files, @made, @held, %placed);
my ($init, $input, $input_end);
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

# Removes what a run leaves on the host. Nothing in here is followed: rm and rmdir take names as they are.
sub discard {
    my ($run) = @_;
    for my $cgroup (glob "/sys/fs/cgroup/{,*/}claimcheck/$run-*") {
        # Busy while something in it is still ending: the folder stays too then, and the next sweep tries again.
        rmdir $cgroup or !-d $cgroup or return;
    }
    system('rm', '-rf', '--one-file-system', '--', "$runs/$run");
}

sub sweep {
    opendir(my $all, $runs) or return;
    for my $run (grep { /^[0-9a-f]+$/ && $_ ne $id } readdir $all) {
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
    my @mounts = grep { -d } "$dir/rootfs", "$dir/bundle";
    system('umount', '--lazy', '--', @mounts) if @mounts;
    discard($id) if $lock;
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

# A layer for the next container.
sub add_layer {
    $count++;
    for my $part ($count, "$count/upper", "$count/work") {
        mkdir "$dir/$part" or fail('prepare', $!);
    }
    # The container's / is the layer's own folder, not the image's: it takes over who may enter it.
    my ($mode, $uid, $gid) = (stat $lower[0])[2, 4, 5];
    chown $uid, $gid, "$dir/$count/upper" and chmod S_IMODE($mode), "$dir/$count/upper" or fail('prepare', $!);
    my $lower = join ':', map { s/([\\:,])/\\$1/gr } @lower;
    # volatile: what the container writes is thrown away or copied, so nobody needs to wait for the disk.
    # A layer is complete in itself: nothing in it points to what is below.
    my $options = "volatile,redirect_dir=nofollow,metacopy=off,index=off,${ours}lowerdir=$lower,upperdir=$dir/$count/upper,workdir=$dir/$count/work";
    system('mount', '-t', 'overlay', '-o', $options, 'overlay', "$dir/rootfs") == 0 or fail('rootfs');
    answer('ready');
}

# A cached step's files take the place of its container.
sub put_below {
    my ($path) = @_;
    push @held, claim($path, LOCK_SH | LOCK_NB) || fail('layer', $!);
    system('umount', '--', "$dir/rootfs") == 0 or fail('layer');
    unshift @lower, $path;
    add_layer();
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
    system("mount -t tmpfs -o mode=0700,noswap tmpfs '$dir/bundle' 2>/dev/null") == 0
        or system('mount', '-t', 'ramfs', '-o', 'mode=0700', 'ramfs', "$dir/bundle") == 0
        or fail('bundle');
    system('mkfifo', map { "$dir/$_" } qw(stdout stderr)) == 0 or fail('pipes');
    add_layer();
}

# Opens a folder that may be a container's work, as the current one: $path under $top, link or no link.
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
    my $failed = sub {
        my $error = $! + 0 || 255;
        print STDERR "$_[0]: ";
        exit $error;
    };
    @INC = ();
    chroot "$dir/rootfs" and chdir '/' or $failed->('chroot');
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
    my $child = fork // fail('place', $!);
    place_all() if $child == 0;
    waitpid $child, 0;
    if ($?) { $! = $? >> 8; fail('place', "$!") }
    note_made('');
    chdir '/';
    $placed{"$_->{folder}/$_->{name}"} = 1 for splice @made;
    answer('placed');
}

# What the runtime made to mount on: before the container's first instruction, all that its layer holds.
sub note_made {
    my ($path) = @_;
    enter("$dir/$count/upper", $path) or return;
    opendir(my $folder, '.') or return;
    my @entries = map { [$_, lstat $_] } grep { !/^\.\.?$/ } readdir $folder;
    for my $entry (@entries) {
        my ($name, $device, $inode, $mode, undef, $uid, $gid) = @$entry;
        note_made("$path/$name") if S_ISDIR($mode);
        push @made, { folder => $path, name => $name, was => "$inode $mode $uid $gid" } unless $placed{"$path/$name"};
    }
}

# Takes away of it what the container left as it was: empty files and empty folders, by name, from inside the
# folder that they are in.
sub remove_made {
    for my $thing (@made) {
        enter("$dir/$count/upper", $thing->{folder}) or next;
        my (undef, $inode, $mode, undef, $uid, $gid, undef, $size) = lstat $thing->{name} or next;
        next if "$inode $mode $uid $gid" ne $thing->{was};
        if    (S_ISDIR($mode)) { rmdir $thing->{name} }
        elsif ($size == 0)     { unlink $thing->{name} }
    }
    chdir '/';
    @made = ();
    %placed = ();
}

# No link under $root is followed, and it stays what was opened, whatever becomes of its name.
sub bind_mount {
    my ($name, $root, $path) = map { s/%(..)/chr hex $1/ger } @_;
    my $refuse = sub { chdir '/'; fail('bind', "$path in $root: $_[0]") };
    my @names = grep { length } split '/', $path;
    my $last = pop @names // '.';
    enter($root, join '/', @names) or $refuse->($!);
    sysopen(my $source, $last, O_PATH | O_NOFOLLOW) or $refuse->($!);
    my $target = "$dir/bundle/$name";
    if    (-d $source) { mkdir $target or $refuse->($!) }
    elsif (-f _)       { sysopen(my $made, $target, O_WRONLY | O_CREAT | O_EXCL, 0600) or $refuse->($!) }
    else               { $refuse->('neither a file nor a folder') }
    fcntl $source, F_SETFD, 0;
    # Without canonicalising, or mount would resolve the name again.
    system('mount', '-c', '--rbind', '/proc/self/fd/' . fileno $source, $target) == 0 or $refuse->('mount');
    chdir '/';
}

sub open_input {
    pipe $input, $input_end or fail('pipes', $!);
    answer('input', fileno $input_end);
}

# Where the runtime sends it.
sub prepare_terminal {
    @size = @_;
    require($0 =~ s{[^/]+$}{terminal.pl}r);
    $console = Terminal::listen_at("$dir/bundle/console") or fail('terminal', $!);
    push @files, "$dir/bundle/console";
}

sub take_terminal {
    my ($screen) = @_;
    $terminal = Terminal::accept_from($console, $screen, $input) or fail('terminal', $!);
    $terminal->resize(@size) or fail('terminal', $!);
    undef $console;
}

sub open_network {
    require($0 =~ s/[^\/]*$/bridge.pl/r);
    my $path = "$dir/bundle/network";
    sysopen(my $file, $path, O_WRONLY | O_CREAT, 0600) or fail('network', $!);
    make_network($path);
}

# The writing end of one of the container's pipes.
sub output {
    my ($name) = @_;
    # Fails when nobody reads: then the executor is gone.
    sysopen(my $pipe, "$dir/$name", O_WRONLY | O_NONBLOCK) or finish();
    fcntl $pipe, F_SETFL, O_WRONLY;
    enlarge($pipe);
    return $pipe;
}

# The runtime's log as reasons; what it writes beside its log goes the container's way.
sub show_log {
    open(my $log, '<', "$dir/bundle/log") or return;
    print STDERR readline $log;
}

sub runtime { return ($runtime, '--root', "$dir/bundle/runtime", '--log', "$dir/bundle/log", '--log-format', 'json') }

# From its return on only the container holds the pipes, and their end is its end.
sub run_create {
    my ($pid_file) = @_;
    my @ends = (output('stdout'), output('stderr'));
    open(STDOUT, '>&', $ends[0]) && open(STDERR, '>&', $ends[1]) or fail('pipes', $!);
    open(STDIN, '<&', $input) or fail('pipes', $!) if $input && !$console;
    my @sends = $console ? ('--console-socket', "$dir/bundle/console") : ();
    my $status = system(
        runtime(), 'create', @sends, '--bundle', "$dir/bundle", '--pid-file', $pid_file, "$id-$count"
    );
    my $reason = $status == -1 ? "$runtime cannot be started: $!" : '';
    open(STDIN, '<', '/dev/null') && open(STDOUT, '>&', $reasons) && open(STDERR, '>&', $reasons) or finish();
    take_terminal($ends[0]) if $console && $status == 0;
    undef $_ for $input, $input_end;
    return if $status == 0;
    show_log();
    fail('create', $reason);
}

# After the unlink the plaintext is in the container and nowhere else.
sub create {
    my $pid_file = "$dir/bundle/pid-$count";
    run_create($pid_file);
    open(my $pid, '<', $pid_file) or fail('create');
    $init = readline $pid;
    for my $file (splice @files) {
        unlink $file or fail('unlink');
    }
    note_made('');
    chdir '/';
    answer('created');
}

sub start {
    return if system(runtime(), 'start', "$id-$count") == 0;
    show_log();
    fail('start');
}

# The next container finds what this one wrote.
sub keep {
    system('umount', '--', "$dir/rootfs") == 0 or fail('keep');
    remove_made();
    unshift @lower, "$dir/$count/upper";
    answer('kept');
}

# Waits for the container's end, for orders and for what passes its terminal, whichever comes.
pipe(my $child_ended, my $wake) or die "pipe: $!\n";
$SIG{CHLD} = sub { syswrite $wake, '.' };

sub reap {
    sysread $child_ended, my $dots, 4096;
    while ((my $pid = waitpid(-1, WNOHANG)) > 0) {
        fail('network', 'its rules are gone') if defined &was_firewall && was_firewall($pid);
        next unless $init && $pid == $init;
        my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
        undef $init;
        end_all();
        $terminal->drain() if $terminal;
        undef $terminal;
        answer('exited', $code);
    }
}

prepare();
sweep();
while (1) {
    my ($ready, $room) = ('', '');
    vec($ready, fileno $_, 1) = 1 for $orders, $child_ended, $terminal ? $terminal->sources() : ();
    vec($room,  fileno $_, 1) = 1 for $terminal ? $terminal->sinks() : ();
    next if select($ready, $room, undef, undef) < 0;
    # Nobody reads: the container learns of it as on any terminal that is hung up.
    $terminal->relay() or undef $terminal if $terminal;
    reap() if vec($ready, fileno $child_ended, 1);
    next unless vec($ready, fileno $orders, 1);
    my ($verb, @words) = split ' ', order() // finish();
    if    ($verb eq 'file')    { keep_file(@words) }
    elsif ($verb eq 'place')   { place() }
    elsif ($verb eq 'bind')    { bind_mount(@words) }
    elsif ($verb eq 'input')   { open_input() }
    elsif ($verb eq 'terminal') { prepare_terminal(@words) }
    elsif ($verb eq 'network') { open_network() }
    elsif ($verb eq 'create')  { create() }
    elsif ($verb eq 'start')   { start() }
    elsif ($verb eq 'resize')  { $terminal->resize(@words) if $terminal }
    elsif ($verb eq 'signal')  { kill $words[0], $init if $init }
    elsif ($verb eq 'keep')    { keep() }
    elsif ($verb eq 'next')    { add_layer() }
    elsif ($verb eq 'layer')   { put_below(@words) }
}
