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
#   unshare … perl supervisor.pl
#
# Its first order, on descriptor 3, is "begin SIZE"; that many bytes follow, with NULs between: RUNTIME RUNS ID USERS STORAGE
# LOWER….
# Before it nothing is made: whoever will want a container starts this program early, because Perl takes time to load it.
#
# RUNS is the folder of all runs; RUNS/ID/ is made, locked and removed here. USERS is "own" for a user namespace of the run's
# own, or "host". STORAGE is "BYTES INODES", which is what all containers together may write (storage.pl), or "-" for what
# the disk has. LOWER are folders with files, the upper ones first, which stay as they are. What else it sees of the host
# is in view.pl. Containers come one after the other: the N-th is called ID-N, and what it writes becomes RUNS/ID/N/upper, or
# N/upper in the storage.
# The orders after it, one a line; paths are percent-encoded, modes octal, users and groups the container's:
#
#   place                   put among the next container's files what follows, one a line until "placed"; answer "placed":
#                             file PATH SIZE MODE UID GID   that many bytes follow
#                             link PATH SIZE                that many bytes follow, which are where it points
#                             folder PATH 0 MODE UID GID    if there is none
#   volume TARGET MODE WITHIN PATH OWNER UID GID
#                           mount what is at PATH on the host at TARGET in the next container; MODE is ro or rw. Below WITHIN
#                             no link is followed. OWNER is a user and group of the host as UID:GID, or "-" for whose it is,
#                             or "nobody": as whom the container's UID and GID write
#   file SIZE MODE UID GID NAME TARGET ATTRIBUTE
#                           that many bytes follow; they become NAME in the bundle, mounted at TARGET, ro or rw, if not "-"
#   terminal COLUMNS ROWS   give the next container a terminal of this size: its output is OUT, and what comes by IN is
#                             typed
#   network                 make the network namespace BUNDLE/network for the next container (bridge.pl)
#   create INPUT UID GID    have the runtime make the container for this user, and unlink what is in the bundle as soon as
#                             that waits to start the command. INPUT is 1, or 0 for /dev/null
#   start                   after "create": have it start the command; answer "started"
#   resize COLUMNS ROWS     give its terminal this size
#   signal NUMBER           send it to the container's first process
#   keep                    after "exited": take away what was only there to be mounted on; answer "kept"
#   next                    after "kept": put an empty layer on top; answer "ready"
#   layer PATH              after "ready": put the files of this folder below the empty layer; answer "ready". A shared
#                             lock on it is held until the end
#   (end of file)           the executor is gone
#
# Descriptor 4 takes the answers: "ready IN OUT ERR USERS" (USERS is the host's number of the container's root, or "-" for
# the host's own), "placed", "started", "exited CODE" (128 + n after signal n), "kept".
# "failed STEP" comes instead of any of them; the reason, ours or the runtime's, is the last line on descriptor 2.
#
# IN, OUT and ERR are descriptors of this process, where the executor finds its ends of the next container's pipes. It opens
# them before it orders the container. (Pipes, because what Node.js makes are sockets: a container cannot open /dev/stdout
# where that is a socket, and reads of them are slow. Without names, because whoever opened /dev/stdin by a name after the
# writer's end would wait for another.) Descriptor 5 is where the executor writes to: if that is a pipe it is made larger.
#
# The runtime waits in a hook, which a configuration has to name: `createRuntime` is when all mounts are made and nothing of
# the container has run. It is a shell that tells its state through BUNDLE/state, and goes on at a line of
# BUNDLE/start.
use strict;
use warnings;
use Fcntl qw(O_CREAT O_WRONLY LOCK_EX LOCK_NB LOCK_SH S_IMODE);

my ($here) = $0 =~ m{^(.*/)};
require "$here$_.pl" for qw(system-calls orders runs view users init container-files attach cgroups);

# Linux's; module POSIX would take longer to load than the rest of this takes.
use constant {
    WNOHANG => 1, W_OK => 2, F_SETPIPE_SZ => 1031, MNT_DETACH => 2, MS_RDONLY => 1, MS_NODEV => 4, MS_REMOUNT => 32, MS_BIND => 4096,
};
# In view.pl's root.
use constant { BUNDLE => '/bundle', ROOTFS => '/rootfs', DISK => '/own/disk' };

my ($runtime, $runs, $id, $users, $storage, @lower);
my ($dir, $lock);
my ($count, $lowers) = (0, 0);
my (@files, @held);
my ($states, $go);
my ($input, $output, $errors);
my ($runtime_process, $reasons_to_wait, $init, $code, @signals);
# Descriptors of processes whose end is awaited, and the numbers of those for which waitpid has not said anything yet.
my (@processes, %unreaped);
my ($console, @size, $terminal);

# In a user namespace the overlay's own marks are other attributes, and there are no cgroups.
open(my $uids, '<', '/proc/self/uid_map') or die "uid_map: $!\n";
my $ours = readline($uids) =~ /^\s*0\s+0\s/ ? '' : 'userxattr,';

# finish() kills every process it can see.
$$ == 1 or die "not process 1 of a namespace\n";

$^F = 2;    # 3 to 5 are for us alone
open(my $answers, '>&=', 4) or die "descriptor 4: $!\n";
open(my $reasons, '>&', 2) or die "descriptor 2: $!\n";

# As large as Linux lets everybody have it: fewer turns between who writes and who reads. Node.js cannot ask for it.
sub enlarge { fcntl $_[0], F_SETPIPE_SZ, 1048576 }

open(my $printed, '>&=', 5) or die "descriptor 5: $!\n";
enlarge($printed);
close $printed;
open(STDOUT, '>&', $reasons) or die "descriptor 1: $!\n";
# What is ours alone is made with a mode that says so; what a container finds is made as everybody's programs make it.
umask 022;

sub answer { syswrite $answers, "@_\n" }

# Their network goes with them. Who was stopped by its cgroup does not end before it goes on.
sub end_all {
    Cgroups::thaw($id);
    kill 'KILL', -1;    # as process 1: everything in this namespace
    1 while wait != -1;
    %unreaped = ();
    end_network() if defined &end_network;
}

sub finish {
    exit 1 if $$ != 1;    # a child of ours only goes
    end_all();
    exit 0 if !$lock;
    SystemCalls::umount($_, MNT_DETACH) for ROOTFS, BUNDLE;
    # Before this process ends, so that whoever waits for that finds no device of it.
    if (defined &Storage::drop) {
        Storage::drop();
        SystemCalls::umount($_, MNT_DETACH) for '/own/mapped', DISK;
    }
    View::on_host(sub {
        my $disk = "$runs/$id";
        remove_made("$disk/$count/upper") if $count && $storage eq '-';
        # Where nothing was left, nobody has to be asked to remove it: a program takes longer to start.
        for my $layer (map { "$disk/$_" } 1 .. $count) {
            unlink "$layer/work/work/incompat/volatile/dirty";    # overlayfs' own
            rmdir "$layer/$_" for qw(work/work/incompat/volatile work/work/incompat work/work work upper);
        }
        rmdir "$disk/$_" for 'view', 1 .. $count;
        discard($runs, $id);
    });
    exit 0;
}

# The reason goes to the executor.
sub fail {
    my ($step, $reason) = @_;
    print STDERR "$reason\n" if $reason;
    answer('failed', $step);
    finish();
}

sub keep_file {
    my ($size, $mode, $uid, $gid, $name, $target, $attribute) = @_;
    push @files, BUNDLE . (($attribute // '') eq 'rw' ? '/writable' : '') . "/$name";
    make_file($files[-1], $size, $mode, map({ Users::host_number($_) } $uid, $gid)) or fail('file', $!);
    return if $target eq '-';
    my $mount = copy_of($files[-1]) or fail('file', $!);
    attach($mount, decoded($target), $attribute, SystemCalls::ATTR_NOEXEC());
}

sub copy_of {
    my $place = SystemCalls::open_path($_[0]) or return;
    return SystemCalls::copy_mount($place);
}

sub attach {
    my ($mount, $target, $mode, $attributes) = @_;
    $attributes |= SystemCalls::ATTR_NOSUID() | SystemCalls::ATTR_NODEV() | ($mode eq 'ro' ? SystemCalls::ATTR_RDONLY() : 0);
    SystemCalls::change_mount($mount, $attributes, 0) && attach_at(ROOTFS, "$dir/$count/upper", $mount, $target)
        or fail('target', "nothing can be mounted on $target: " . ($@ || $!));
}

# Mounts a folder or file of the host's.
sub add_volume {
    my ($target, $mode, $within, $path, $owner, $uid, $gid) = @_;
    $_ = decoded($_) for $target, $within, $path;
    my ($place, $mount) = View::on_host(sub {
        my $around = SystemCalls::open_path($within) or return;
        my $place = $path eq '.' ? $around : SystemCalls::open_below($around, $path) or return;
        return ($place, SystemCalls::copy_mount($place));
    });
    my $source = $path eq '.' ? $within : "$path in $within";
    $place && (-d $place || -f _) or fail('volume', "$source: " . ($place ? 'neither a file nor a folder' : $!));
    $mount or fail('volume', "$source: $!");
    if ($owner ne 'nobody') {
        my @owner = $owner eq '-' ? (stat $place)[4, 5] : split /:/, $owner;
        Users::map_one($mount, @owner, $uid, $gid)
            or fail('users', "$source: its file system, or one mounted in it, cannot map users ($!)");
    }
    attach($mount, $target, $mode, 0);
}

sub open_pipe {
    pipe(my $reads, my $writes) or fail('pipes', $!);
    return { reads => $reads, writes => $writes };
}

# Nobody of ours removes a folder that some run has locked.
sub hold {
    my ($path) = @_;
    push @held, View::on_host(sub { claim($path, LOCK_SH | LOCK_NB) })
        || fail('layer', "$path was removed, or is about to be; run it again" . ($! ? " ($!)" : ''));
}

# Has a folder with files, as the host sees it, lie below those of the next container.
sub add_lower {
    my ($path) = @_;
    my $mount = View::on_host(sub { copy_of($path) }) or fail('layer', "$path: $!");
    Users::map_mount($mount) or fail('users', "$path: its file system cannot map users ($!)");
    SystemCalls::change_mount($mount, SystemCalls::ATTR_RDONLY() | SystemCalls::ATTR_NODEV(), 0) or fail('layer', $!);
    my $name = '/l/' . $lowers++;
    mkdir $name or fail('layer', $!);
    my $place = SystemCalls::open_path($name) or fail('layer', $!);
    SystemCalls::attach_mount($mount, $place) or fail('layer', $!);
    return $name;
}

# A layer for the next container.
sub add_layer {
    $count++;
    for my $part ($count, "$count/upper", "$count/work") {
        mkdir "$dir/$part" or fail('prepare', $!);
    }
    # Short names, because the kernel has a page for all of them (../plan/limits.ts reckons with them).
    chdir '/own/mapped' or fail('prepare', $!);
    # The container's / is the layer's own folder, not the image's: it takes over who may enter it.
    my ($mode, $uid, $gid) = (stat $lower[0])[2, 4, 5];
    chown Users::own_number($uid), Users::own_number($gid), "$dir/$count/upper" and chmod S_IMODE($mode), "$dir/$count/upper" or fail('prepare', $!);
    my $layers = join ':', @lower;
    # volatile: what the container writes is thrown away or copied, so nobody needs to wait for the disk.
    # A layer is complete in itself: nothing in it points to what is below.
    my $options = "volatile,redirect_dir=nofollow,metacopy=off,index=off,${ours}lowerdir=$layers,upperdir=$count/upper,workdir=$count/work";
    Users::as_root(sub { SystemCalls::mount('overlay', ROOTFS, 'overlay', MS_NODEV, $options) }) or fail('rootfs', "overlay: $!");
    # Where it finds no room for a folder of its own, overlayfs mounts what nobody can write to, and says so only in a log.
    SystemCalls::call('faccessat', SystemCalls::AT_FDCWD(), ROOTFS, W_OK)
        or fail('rootfs', $!{EROFS} ? 'overlay: No space left on device' : "overlay: $!");
    chdir '/';
    my $first = Init::start() or fail('prepare', "process 1: $!");
    bind_namespace("/proc/$first/ns/pid", 'processes');
    ($input, $output, $errors) = map { open_pipe() } 1 .. 3;
    enlarge($_->{writes}) for $output, $errors;
    answer('ready', fileno $input->{writes}, fileno $output->{reads}, fileno $errors->{reads}, Users::first() // '-');
}

# A cached step's files take the place of its container.
sub put_below {
    my ($path) = @_;
    hold($path);
    SystemCalls::umount(ROOTFS, 0) or fail('layer', $!);
    unshift @lower, add_lower($path);
    add_layer();
}

# How the runtime's hook and this process speak to each other.
sub open_gate {
    my ($told, $awaited) = map { open_pipe() } 1 .. 2;
    ($states, $go) = ($told->{reads}, $awaited->{writes});
    my %ends = (state => $told->{writes}, start => $awaited->{reads});
    push @held, values %ends;
    symlink '/proc/1/fd/' . fileno $ends{$_}, BUNDLE . "/$_" or fail('prepare', $!) for keys %ends;
}

sub prepare {
    my (undef, $size) = split ' ', order() // finish();
    my $settings = '';
    receive($size, sub { $settings .= $_[0] });
    ($runtime, $runs, $id, $users, $storage, @lower) = split /\0/, $settings;
    $0 = "supervisor.pl $runs/$id";    # what ps shows
    for (1 .. 100) {
        # It may be there, and held, while another run's sweep takes it away: then that is waited for.
        mkdir "$runs/$id", 0700 or $!{EEXIST} or last;
        last if $lock = claim("$runs/$id", LOCK_EX);
    }
    $lock or fail('claim', $!);
    $dir = "$runs/$id";
    if ($storage ne '-') {
        require "${here}storage.pl";
        Storage::begin($dir, split ' ', $storage) or fail('storage', $!);
    }
    sweep($runs, $id);
    if ($users eq 'own') { Users::settle() or fail('users', $@ || $!) }
    mkdir "$dir/view" or fail('prepare', $!);
    my @folders = ($here =~ s{/$}{}r, View::folders_of($runtime));
    my $disk = $storage eq '-' ? copy_of($dir) : Storage::finish("$dir/storage");
    $disk or fail('storage', $@ || $!);
    View::enclose("$dir/view", $disk, \@folders) or fail('view', "the runtime's view of the host could not be made: $!");
    $dir = DISK;
    my $mapped = copy_of(DISK) or fail('prepare', $!);
    Users::map_mount($mapped) or fail('users', "$runs: its file system cannot map users ($!)");
    my $place = SystemCalls::open_path('/own/mapped') or fail('prepare', $!);
    SystemCalls::attach_mount($mapped, $place) or fail('prepare', $!);
    # tmpfs stays out of swap from Linux 6.4 on; ramfs is never swapped, but its size has no bound.
    SystemCalls::mount('tmpfs', BUNDLE, 'tmpfs', 0, 'mode=0700,noswap,size=256m,nr_inodes=8192')
        or SystemCalls::mount('ramfs', BUNDLE, 'ramfs', 0, 'mode=0700')
        or fail('bundle', $!);
    # What a container can write to holds no plaintext, and is bounded in any case.
    mkdir BUNDLE . '/writable' or fail('bundle', $!);
    SystemCalls::mount('tmpfs', BUNDLE . '/writable', 'tmpfs', 0, 'mode=0700,size=1m,nr_inodes=64') or fail('bundle', $!);
    if (my $namespace = Users::namespace()) { bind_namespace('/proc/self/fd/' . fileno $namespace, 'users') }
    open_gate();
    @lower = map { hold($_); add_lower($_) } @lower;
    add_layer();
}

# Gives a namespace a name in the bundle, for the runtime.
sub bind_namespace {
    my ($namespace, $name) = @_;
    SystemCalls::umount(BUNDLE . "/$name", MNT_DETACH);    # of a container before
    sysopen(my $file, BUNDLE . "/$name", O_WRONLY | O_CREAT, 0600) or fail('prepare', $!);
    SystemCalls::mount($namespace, BUNDLE . "/$name", '', MS_BIND, '') or fail('prepare', "$name: $!");
}

# Where the runtime sends it.
sub prepare_terminal {
    @size = @_;
    require "${here}terminal.pl";
    $console = Terminal::listen_at(BUNDLE . '/console') or fail('terminal', $!);
    push @files, BUNDLE . '/console';
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
    make_network(BUNDLE . '/network');
}

# The runtime's log as reasons; what it writes beside its log goes the container's way.
sub show_log {
    open(my $log, '<', BUNDLE . '/log') or return;
    print STDERR readline $log;
}

sub run_runtime {
    my ($has_input) = @_;
    my @log = ('--log', BUNDLE . '/log', '--log-format', 'json');
    my @sends = $console ? ('--console-socket', BUNDLE . '/console') : ();
    my $in = $has_input && !$console ? $input->{reads} : undef;
    open(STDIN, '<&', $in) or exit 1 if $in;
    open(STDOUT, '>&', $output->{writes}) && open(STDERR, '>&', $errors->{writes}) or exit 1;
    my @command = ('run', '--detach', @sends, '--bundle', BUNDLE, "$id-$count");
    no warnings 'exec';
    exec $runtime, '--root', BUNDLE . '/runtime', @log, @command
        or syswrite $reasons, "$runtime cannot be started: $!\n";
    exit 127;
}

# From here on only the container holds the pipes, and their end is its end. For a terminal's container they are held.
sub create {
    my ($has_input, @user) = @_;
    @signals = ();
    $reasons_to_wait = 2;
    check_kernel_folders(ROOTFS, "$dir/$count/upper") or fail('target', $@ || $!);
    # A container opens its /dev/stdout again as its own user.
    chown map({ Users::host_number($_) } @user), $_ for $input->{reads}, $output->{writes}, $errors->{writes};
    $runtime_process = fork // fail('create', $!);
    run_runtime($has_input) if $runtime_process == 0;
    await_process($runtime_process);
    delete $_->{reads} for $output, $errors;
    delete $input->{writes};
    undef $_ for $errors, $console ? () : ($input, $output);
}

# The runtime waits in its hook. After the unlink the plaintext is in the container and nowhere else.
sub take_state {
    my $state = '';
    1 while $state !~ /\n/ && sysread $states, $state, 4096, length $state;
    ($init) = $state =~ /"pid":\s*(\d+)/ or fail('create', 'the OCI runtime did not name the process of the container');
    await_process($init);
    for my $file (splice @files) {
        unlink $file or fail('unlink', $!);
    }
    if (my $stray = find_stray_mounts(ROOTFS, $init)) { fail('mounts', $stray) }
    release();
}

# Both have to be there, the unlink and the order.
sub release { --$reasons_to_wait or syswrite $go, "\n" }

# Until the runtime is done, the first process is its own and would take them for itself.
sub send_signals {
    for my $signal ($runtime_process || !$init ? () : splice @signals) {
        Cgroups::thaw($id) if $signal == 9;
        kill $signal, $init;
    }
}

# The next container finds what this one wrote. Nobody writes to it any more: not even through a descriptor that the
# container passed on to somebody who is still there.
sub keep {
    SystemCalls::mount('', ROOTFS, '', MS_REMOUNT | MS_RDONLY, '')
        or fail('keep', $!{EBUSY} ? 'a process outside of the container still writes to a file of it' : $!);
    SystemCalls::umount(ROOTFS, MNT_DETACH) or fail('keep', $!);
    $storage eq '-' || Storage::flush() or fail('disk', "what the container wrote could not be stored: $!");
    remove_made("$dir/$count/upper");
    unshift @lower, "$count/upper";
    answer('kept');
}

# Has the loop wake up when a process ends. (A signal would be taken between two operations of Perl's, and could be missed
# just before the wait.)
sub await_process {
    my ($process) = @_;
    push @processes, SystemCalls::open_process($process) || fail('create', "pidfd_open: $!");
    $unreaped{$process} = 1;
}

sub has_ended {
    my $ready = '';
    vec($ready, fileno $_[0], 1) = 1;
    return select $ready, undef, undef, 0;
}

# What has ended is told.
sub reap {
    @processes = grep { !has_ended($_) } @processes;
    while ((my $pid = waitpid(-1, WNOHANG)) > 0) {
        delete $unreaped{$pid};
        fail('network', 'the firewall rules of the network are gone') if defined &was_firewall && was_firewall($pid);
        if ($runtime_process && $pid == $runtime_process) {
            undef $runtime_process;
            if ($?) { show_log(); fail('create') }
            $init || defined $code or fail('create', 'the OCI runtime ran no hooks; Claimcheck needs them');
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
    $storage eq '-' || Storage::is_whole(ROOTFS) or fail('disk', "what the container wrote could not be stored: $!");
    answer('exited', $code);
    undef $code;
}

# How long the loop waits, in seconds. A process that somebody traces (strace, gdb) has ended some time before waitpid tells
# of it, and no descriptor says when that is.
sub patience { return @processes || !%unreaped ? undef : 0.02 }

prepare();
# Waits for orders, for the end of processes and for what passes the terminal, whichever comes.
while (1) {
    my ($ready, $room) = ('', '');
    vec($ready, fileno $_, 1) = 1 for orders(), $states, @processes, $terminal ? $terminal->sources() : ();
    vec($room,  fileno $_, 1) = 1 for $terminal ? $terminal->sinks() : ();
    my $found = select($ready, $room, undef, patience());
    reap() if $found == 0;
    next if $found <= 0;
    # Nobody reads: the container learns of it as on any terminal that is hung up.
    $terminal->relay() or undef $terminal if $terminal;
    take_state() if vec($ready, fileno $states, 1);
    reap() if grep { vec($ready, fileno $_, 1) } @processes;
    next unless vec($ready, fileno orders(), 1);
    my ($verb, @words) = split ' ', order() // finish();
    if    ($verb eq 'file')     { keep_file(@words) }
    elsif ($verb eq 'place')    { place(ROOTFS) }
    elsif ($verb eq 'volume')   { add_volume(@words) }
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
