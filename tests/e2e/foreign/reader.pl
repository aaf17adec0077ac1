#!/usr/bin/perl
# A reader that resumes, written from docs/protocol.md alone, in a language that no other part of Parley is written in, with
# nothing but what comes with Perl. It asks one question and reads the answer over sockets that it cuts at random bytes.
#
#     perl reader.pl BASE_URL MODEL SEED
#
# prints what it has put together as one JSON object.
use strict;
use warnings;
use Digest::SHA qw(sha1_base64);
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(sleep time);

use constant SILENCE  => 30;     # seconds without a byte after which a socket is given up
use constant DEADLINE => 120;    # seconds for the whole

my ( $base, $model, $seed ) = @ARGV;
my ( $host, $port ) = $base =~ m{^http://([^:/]+):(\d+)$} or die "BASE_URL is http://host:port\n";
my $json = JSON::PP->new->utf8->canonical;
my %count = map { $_ => 0 } qw(connections gaps ignored snapshots recovered whole deltas taken_back);
srand $seed;
my $ends = time + DEADLINE;

# --- HTTP ----------------------------------------------------------------------------------------------------------------

my $token;

sub http_once {
    my ( $method, $path, $body ) = @_;
    my $socket = IO::Socket::INET->new( PeerAddr => $host, PeerPort => $port, Timeout => 10 ) or return 0;
    my $content = defined $body ? $json->encode($body) : '';
    my @head = (
        "$method $path HTTP/1.1", "Host: $host:$port", 'Connection: close', 'Content-Type: application/json',
        'Content-Length: ' . length $content,
    );
    push @head, "Authorization: Bearer $token" if defined $token;
    print {$socket} join( "\r\n", @head, '', '' ) . $content;
    local $/;
    my $answer = <$socket>;
    return 0 if !defined $answer || $answer !~ m{^HTTP/1\.1 (\d+)[^\n]*\n(.*?)\r\n\r\n(.*)$}s;
    my ( $status, $fields, $rest ) = ( $1, $2, $3 );
    if ( $fields =~ /^transfer-encoding: *chunked/mi ) {
        my $whole = '';
        while ( $rest =~ s/^([0-9a-f]+)[^\r\n]*\r\n//i && hex $1 ) {
            $whole .= substr $rest, 0, hex $1, '';
            $rest =~ s/^\r\n//;
        }
        $rest = $whole;
    }
    return ( $status, length $rest ? $json->decode($rest) : undef );
}

sub http {
    my ( $method, $path, $body ) = @_;
    while ( time < $ends ) {
        my ( $status, $answer ) = http_once( $method, $path, $body );
        return $answer if $status >= 200 && $status < 300;
        die "$method $path: $status\n" if $status && $status != 503 && $status != 429;
        sleep 0.2;    # no answer, or none now: the ids in it make it safe to ask again
    }
    die "$method $path: no answer\n";
}

sub new_id {
    my @hex = map { sprintf '%04x', int rand 65536 } 1 .. 8;
    return sprintf '%s%s-%s-4%s-8%s-%s%s%s', @hex[ 0, 1, 2 ], substr( $hex[3], 1 ), substr( $hex[4], 1 ), @hex[ 5, 6, 7 ];
}

# --- one websocket (RFC 6455), cut after so many bytes -------------------------------------------------------------------

sub connect_socket {
    my ( $url, $budget ) = @_;
    my ( $to, $path ) = $url =~ m{^ws://([^/]+)(/.*)$} ? ( $1, $2 ) : ( "$host:$port", $url );
    my $socket = IO::Socket::INET->new( PeerAddr => $to, Timeout => 10 ) or return;
    my $key = encode_base64( pack( 'N4', map { int rand 2**32 } 1 .. 4 ), '' );
    print {$socket} join "\r\n", "GET $path HTTP/1.1", "Host: $to", 'Upgrade: websocket', 'Connection: Upgrade',
        "Sec-WebSocket-Key: $key", 'Sec-WebSocket-Version: 13', '', '';
    my $self = { socket => $socket, buffer => '', budget => 1e9, message => '' };
    while ( $self->{buffer} !~ /\r\n\r\n/ ) { read_some($self) or return }
    $self->{buffer} =~ s{^HTTP/1\.1 101 .*?\r\n\r\n}{}s or return;
    my ($accept) = $& =~ /^sec-websocket-accept: *(\S+)/mi;
    die "not a websocket\n" if $accept ne sha1_base64( $key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11' ) . '=';
    $self->{budget} = $budget;
    return $self;
}

sub read_some {
    my ($self) = @_;
    return 0 if $self->{budget} <= 0;    # here it is cut
    return 0 if !IO::Select->new( $self->{socket} )->can_read(SILENCE);
    my $size = $self->{budget} < 4096 ? $self->{budget} : 4096;
    my $got = sysread $self->{socket}, $self->{buffer}, $size, length $self->{buffer};
    $self->{budget} -= $got || 0;
    return $got;
}

sub send_frame {
    my ( $self, $opcode, $payload ) = @_;
    my $length = length $payload;
    my $mask = pack 'N', int rand 2**32;
    my $head = pack 'CC', 0x80 | $opcode, 0x80 | ( $length < 126 ? $length : 126 );
    $head .= pack 'n', $length if $length >= 126;
    my $masked = $payload ^ substr( $mask x ( $length / 4 + 1 ), 0, $length );
    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{socket}, $head . $mask . $masked;
}

# The next text message; nothing when the socket has ended, with the close code in {code} if there was one.
sub next_message {
    my ($self) = @_;
    while (1) {
        my ( $opcode, $fin, $payload ) = take_frame($self) or return;
        if ( $opcode == 8 ) { $self->{code} = length $payload >= 2 ? unpack 'n', $payload : 0; return }
        elsif ( $opcode == 9 ) { send_frame( $self, 10, $payload ) }
        elsif ( $opcode <= 1 ) {
            $self->{message} .= $payload;
            next if !$fin;
            my $message = $self->{message};
            $self->{message} = '';
            return $json->decode($message);
        }
    }
}

sub take_frame {
    my ($self) = @_;
    while (1) {
        my $buffer = \$self->{buffer};
        if ( length $$buffer >= 2 ) {
            my ( $first, $length ) = unpack 'CC', $$buffer;
            my $head = $length == 126 ? 4 : $length == 127 ? 10 : 2;
            if ( length $$buffer >= $head ) {
                $length = unpack 'x2 n',  $$buffer if $length == 126;
                $length = unpack 'x2 Q>', $$buffer if $length == 127;
                if ( length $$buffer >= $head + $length ) {
                    substr $$buffer, 0, $head, '';
                    return ( $first & 0x0f, $first & 0x80, substr $$buffer, 0, $length, '' );
                }
            }
        }
        read_some($self) or return;
    }
}

# --- what a reader keeps -------------------------------------------------------------------------------------------------

my %state = ( version => 0, settled => 0, chat => undef, messages => {}, running => undef, synced => 0, ended => '' );
my %terminal = map { $_ => 1 } qw(complete stopped failed);

sub cursor {
    return undef if !$state{synced};
    my %cursor = ( version => $state{settled} );
    @cursor{qw(generation_id attempt seq)} = @{ $state{running} }{qw(generation_id attempt seq)} if $state{running};
    return \%cursor;
}

sub advance {
    my ($version) = @_;
    @state{qw(settled version)} = ( $state{version}, $version ) if $version > $state{version};
}

sub keep {
    my ($message) = @_;
    my $known = $state{messages}{ $message->{id} };
    return 0 if $known && $known->{version} >= $message->{version};
    $state{messages}{ $message->{id} } = $message;
    return 1;
}

sub is_over {
    my $message = $state{messages}{ $_[0] };
    return $message && $terminal{ $message->{status} };
}

my %merge = (
    snapshot => sub {
        my ($frame) = @_;
        $count{snapshots}++;
        $count{recovered}++ if $frame->{recovered};
        $state{messages} = {} if !$frame->{recovered};
        keep($_) for @{ $frame->{messages} };
        my ( $mine, $theirs ) = ( $state{running}, $frame->{generation} );
        if ( !$theirs || is_over( $theirs->{message_id} ) ) {
            $state{ended} = $mine->{generation_id} if $mine;
            $state{running} = undef;
        }
        elsif ( $theirs->{after} == 0 ) {
            $count{whole}++ if $mine;
            $state{running} = {%$theirs};
        }
        elsif ($mine
            && $mine->{generation_id} eq $theirs->{generation_id}
            && $mine->{attempt} == $theirs->{attempt}
            && $mine->{seq} == $theirs->{after} )
        {
            $mine->{$_} .= $theirs->{$_} for qw(text reasoning);
            @{$mine}{qw(seq status)} = @{$theirs}{qw(seq status)};
        }
        else {
            $state{synced} = 0;
            return 'gap';
        }
        @state{qw(version settled chat synced)} = ( $frame->{version}, $frame->{version}, $frame->{chat}, 1 );
        return 'applied';
    },
    message => sub {
        my ($frame) = @_;
        keep( $frame->{message} ) or return 'ignored';
        advance( $frame->{version} );
        my $mine = $state{running};
        if ( $mine && $mine->{message_id} eq $frame->{message}{id} && is_over( $frame->{message}{id} ) ) {
            $state{ended}   = $mine->{generation_id};
            $state{running} = undef;
        }
        return 'applied';
    },
    chat => sub {
        my ($frame) = @_;
        die "the chat is gone\n" if !$frame->{chat};
        return 'ignored' if $state{chat} && $state{chat}{version} > $frame->{chat}{version};
        $state{chat} = $frame->{chat};
        advance( $frame->{version} );
        return 'applied';
    },
    generation => sub {
        my ($frame) = @_;
        return 'ignored' if $frame->{generation_id} eq $state{ended} || is_over( $frame->{message_id} );
        my $mine = $state{running};
        my $same = $mine && $mine->{generation_id} eq $frame->{generation_id};
        return 'ignored' if $same && $frame->{attempt} < $mine->{attempt};
        if ( !$same || $frame->{attempt} > $mine->{attempt} ) {
            $mine = $state{running} = { %$frame, seq => 0, text => '', reasoning => '' };
        }
        $mine->{status} = $frame->{status} eq 'retrying' ? 'retrying' : 'running';
        return 'applied';
    },
    delta => sub {
        my ($frame) = @_;
        my $mine = $state{running};
        if ( !$mine || $mine->{generation_id} ne $frame->{generation_id} ) {
            return $frame->{generation_id} eq $state{ended} ? 'ignored' : 'gap';
        }
        return 'ignored' if $frame->{attempt} < $mine->{attempt};
        return 'gap'     if $frame->{attempt} > $mine->{attempt};
        return 'ignored' if $frame->{to} <= $mine->{seq};
        return 'gap'     if $frame->{from} != $mine->{seq} + 1;
        $mine->{ $frame->{kind} } .= $frame->{text};
        @{$mine}{qw(seq status)} = ( $frame->{to}, 'running' );
        $count{deltas}++;
        return 'applied';
    },
);

# --- one question --------------------------------------------------------------------------------------------------------

$token = http( 'POST', '/v1/session', {} )->{access_token};
my $push_url = http( 'GET', '/v1/config' )->{push_url};
my $chat_id  = new_id();
http( 'POST', '/v1/chats', { id => $chat_id, model => $model } );
my $prompt_id = new_id();
http( 'POST', "/v1/chats/$chat_id/messages", { id => $prompt_id, content => 'cut me anywhere' } );

my ( $seen, $attempt ) = ( '', 0 );    # the text of the running answer, which is never taken back within an attempt

sub answer {
    my ($found) = grep { ( $_->{parent_id} // '' ) eq $prompt_id && $terminal{ $_->{status} } } values %{ $state{messages} };
    return $found;
}

sub check_text {
    my $mine = $state{running} or return;
    ( $seen, $attempt ) = ( '', $mine->{attempt} ) if $mine->{attempt} != $attempt;
    $count{taken_back}++ if substr( $mine->{text}, 0, length $seen ) ne $seen;
    $seen = $mine->{text};
}

sub read_until_cut {
    my ($socket) = @_;
    send_frame( $socket, 1, $json->encode( { type => 'auth', ticket => http( 'POST', '/v1/push-ticket', {} )->{ticket} } ) );
    my $awaits_snapshot = 0;
    my $watch = sub {
        send_frame( $socket, 1, $json->encode( { type => 'watch', chat_id => $chat_id, after => cursor() } ) );
        $awaits_snapshot = 1;
    };
    while ( !answer() && time < $ends ) {
        my $frame = next_message($socket) or last;
        my $type = $frame->{type};
        if ( $type eq 'ready' ) { $watch->(); next }
        die "refused: $frame->{message}\n" if $type eq 'error' && $frame->{code} ne 'unavailable';
        next if !$merge{$type} || $frame->{chat_id} ne $chat_id;
        my $wanted = $type eq 'snapshot' || ( $state{synced} && !$awaits_snapshot );
        my $outcome = $wanted ? $merge{$type}->($frame) : 'ignored';
        $awaits_snapshot = 0 if $type eq 'snapshot';
        $count{ignored}++ if $outcome eq 'ignored';
        if ( $outcome eq 'gap' ) { $count{gaps}++; $watch->() }
        check_text();
    }
    my $code = $socket->{code} // 0;
    die "closed with $code: do not connect again\n" if $code >= 4400 && $code < 4500;
}

while ( !answer() && time < $ends ) {
    my $socket = connect_socket( $push_url, 100 + int rand 4000 );
    if ( !$socket ) { sleep 0.1; next }
    $count{connections}++;
    read_until_cut($socket);
    close $socket->{socket};
}
my $answer = answer() or die "no answer in time\n";
$count{taken_back}++ if substr( $answer->{content}, 0, length $seen ) ne $seen;
print $json->encode(
    { chat_id => $chat_id, token => $token, answer => $answer, text_before_the_end => $seen, count => \%count } );
