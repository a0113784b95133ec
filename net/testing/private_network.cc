// SPDX-License-Identifier: Apache-2.0
#include "net/testing/private_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "net/base/open_file.h"
#include "net/tun_device.h"

namespace tapir::net::testing {
namespace {

// PACKET_VNET_HDR carries the header without num_buffers.
constexpr std::size_t kShortHeaderBytes = 10;
constexpr std::size_t kNumBuffersBytes = 2;

constexpr const char* kTunDirectory = "/dev/net";

// Whether kTunDevice is a node of our own, that may be changed; never the host's.
bool g_own_tun_device = false;

Status make_own_tun_device() {
  if (::mount("tmpfs", kTunDirectory, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755") < 0 ||
      ::mknod(kTunDevice, S_IFCHR | S_IRUSR | S_IWUSR, ::makedev(10, 200)) < 0) {
    return fail_errno(kTunDevice);
  }
  g_own_tun_device = true;
  return {};
}

Status write_file(const std::string& path, const std::string& text) {
  TAPIR_TRY_ASSIGN(const UniqueFd fd, open_file(path, O_WRONLY));
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return fail_errno(path);
  }
  return {};
}

// An ordinary user becomes root of a user namespace, and so may have a network namespace.
Status become_root_of_user_namespace() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare(CLONE_NEWUSER) < 0) {
    return fail_errno("needs root, or user namespaces and a single thread: unshare(CLONE_NEWUSER)");
  }
  TAPIR_TRY(write_file("/proc/self/setgroups", "deny"));
  TAPIR_TRY(write_file("/proc/self/uid_map", "0 " + std::to_string(user) + " 1"));
  return write_file("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
}

Status set_link_flag(const std::string& name, ifreq& request, unsigned long number) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  if (::ioctl(socket.get(), number, &request) < 0) {
    return fail_errno(name);
  }
  return {};
}

}  // namespace

Status enter_network_namespace() {
  const bool is_root = ::geteuid() == 0;
  if (!is_root) {
    TAPIR_TRY(open_file(kTunDevice, O_RDWR));
    TAPIR_TRY(become_root_of_user_namespace());
  }
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
    return fail_errno("unshare(CLONE_NEWNET)");
  }
  // /sys shows the namespace in which it was mounted. Nothing here reaches the host's mounts.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
      ::mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0) {
    return fail_errno("mount /sys of the network namespace");
  }
  if (is_root) {
    TAPIR_TRY(make_own_tun_device());
    TAPIR_TRY(open_file(kTunDevice, O_RDWR));
  }
  // Absent in a kernel without IPv6, and then nothing has to be turned off.
  static_cast<void>(write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"));
  return {};
}

Status set_tun_device_mode(mode_t mode) {
  if (!g_own_tun_device) {
    return fail("needs root, for a /dev/net/tun of the test's own");
  }
  return ::chmod(kTunDevice, mode) == 0 ? Status{} : fail_errno(kTunDevice);
}

Status remove_tun_device() {
  if (!g_own_tun_device) {
    return fail("needs root, for a /dev/net/tun of the test's own");
  }
  return ::unlink(kTunDevice) == 0 ? Status{} : fail_errno(kTunDevice);
}

Status make_persistent_tap(const std::string& name, const TapSetup& setup) {
  TAPIR_TRY_ASSIGN(const UniqueFd fd, open_file(kTunDevice, O_RDWR));
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>((setup.tun ? IFF_TUN : IFF_TAP) | IFF_NO_PI |
                                         (setup.multi_queue ? IFF_MULTI_QUEUE : 0));
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0 || ::ioctl(fd.get(), TUNSETPERSIST, 1) < 0 ||
      (setup.owner && ::ioctl(fd.get(), TUNSETOWNER, *setup.owner) < 0) ||
      (setup.group && ::ioctl(fd.get(), TUNSETGROUP, *setup.group) < 0)) {
    return fail_errno(name);
  }
  return set_link_up(name, setup.up);
}

Status set_link_up(const std::string& name, bool up) {
  ifreq request{};
  TAPIR_TRY(set_link_flag(name, request, SIOCGIFFLAGS));
  request.ifr_flags = static_cast<short>(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  return set_link_flag(name, request, SIOCSIFFLAGS);
}

Status set_link_mtu(const std::string& name, int mtu) {
  ifreq request{};
  request.ifr_mtu = mtu;
  return set_link_flag(name, request, SIOCSIFMTU);
}

Status delete_link(const std::string& name) {
  struct {
    nlmsghdr header;
    ifinfomsg link;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_DELLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.link.ifi_index = static_cast<int>(::if_nametoindex(name.c_str()));
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } answer{};
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (::send(socket.get(), &request, sizeof request, 0) < 0 ||
      ::recv(socket.get(), &answer, sizeof answer, 0) < 0) {
    return fail_errno(name);
  }
  return answer.error.error == 0 ? Status{} : fail_errno(name, -answer.error.error);
}

Result<PacketSocket> PacketSocket::open(const std::string& interface) {
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  const int on = 1;
  const int buffer_bytes = 16 * 1024 * 1024;
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  if (!fd || ::setsockopt(fd.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes) < 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) < 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return fail_errno("packet socket on " + interface);
  }
  return PacketSocket(std::move(fd));
}

Status PacketSocket::send(std::span<const std::byte> frame) const {
  std::array<iovec, 2> pieces{};
  // sendmsg only reads.
  auto* const start = const_cast<std::byte*>(frame.data());
  pieces[0] = {start, kShortHeaderBytes};
  pieces[1] = {start + kShortHeaderBytes + kNumBuffersBytes,
               frame.size() - kShortHeaderBytes - kNumBuffersBytes};
  if (::writev(fd_.get(), pieces.data(), 2) < 0) {
    return fail_errno("packet socket, " + std::to_string(frame.size()) + " bytes");
  }
  return {};
}

std::optional<std::vector<std::byte>> PacketSocket::receive() const {
  pollfd readable{fd_.get(), POLLIN, 0};
  if (::poll(&readable, 1, 2000) != 1) {
    return std::nullopt;
  }
  std::vector<std::byte> frame(std::size_t{256} * 1024);
  std::array<iovec, 2> pieces{iovec{frame.data(), kShortHeaderBytes},
                              iovec{frame.data() + kShortHeaderBytes + kNumBuffersBytes,
                                    frame.size() - kShortHeaderBytes - kNumBuffersBytes}};
  const ssize_t size = ::readv(fd_.get(), pieces.data(), 2);
  if (size < 0) {
    return std::nullopt;
  }
  frame.resize(static_cast<std::size_t>(size) + kNumBuffersBytes);
  return frame;
}

std::string run_as(uid_t uid, const std::function<std::string()>& body) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) {
    return "pipe2 failed";
  }
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    // Ends without exit handlers: those belong to the parent.
    if (::setgroups(0, nullptr) < 0 || ::setresgid(uid, uid, uid) < 0 || ::setresuid(uid, uid, uid) < 0) {
      ::_exit(2);
    }
    const std::string text = body();
    ::_exit(::write(writer.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 3);
  }
  writer.reset();
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t size = 0; (size = ::read(reader.get(), part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(size));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? text : "the child failed";
}

}  // namespace tapir::net::testing
