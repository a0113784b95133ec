// SPDX-License-Identifier: Apache-2.0
#include "helper/netlink.h"

#include <libmnl/libmnl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "net/base/check.h"

namespace tapir::helper {
namespace {

// The kernel makes an answer as long as it needs to be, a few kilobytes for one interface.
constexpr std::size_t kAnswerBytes = std::size_t{32} * 1024;

}  // namespace

NetlinkRequest::NetlinkRequest(std::uint16_t type, std::uint16_t flags, std::span<const std::byte> header) {
  nlmsghdr* const message = mnl_nlmsg_put_header(buffer_.data());
  message->nlmsg_type = type;
  message->nlmsg_flags = NLM_F_REQUEST | flags;
  std::memcpy(mnl_nlmsg_put_extra_header(message, header.size()), header.data(), header.size());
}

void NetlinkRequest::put_bytes(std::uint16_t type, std::span<const std::byte> value) {
  CHECK(mnl_attr_put_check(header(), buffer_.size(), type, value.size(), value.data()));
}

void NetlinkRequest::put_text(std::uint16_t type, std::string_view text) {
  const std::string terminated(text);
  CHECK(mnl_attr_put_strz_check(header(), buffer_.size(), type, terminated.c_str()));
}

std::size_t NetlinkRequest::start_nest(std::uint16_t type) {
  const nlattr* const start = mnl_attr_nest_start_check(header(), buffer_.size(), type);
  CHECK(start != nullptr);
  return static_cast<std::size_t>(reinterpret_cast<const std::byte*>(start) - buffer_.data());
}

void NetlinkRequest::end_nest(std::size_t start) {
  mnl_attr_nest_end(header(), reinterpret_cast<nlattr*>(buffer_.data() + start));
}

std::optional<NetlinkAttributes::Bytes> NetlinkAttributes::find(std::uint16_t type) const {
  const auto* attribute = reinterpret_cast<const nlattr*>(bytes_.data());
  auto left = static_cast<std::ptrdiff_t>(bytes_.size());
  while (mnl_attr_ok(attribute, static_cast<int>(left))) {
    if (mnl_attr_get_type(attribute) == type) {
      return Bytes(static_cast<const std::byte*>(mnl_attr_get_payload(attribute)),
                   mnl_attr_get_payload_len(attribute));
    }
    left -= MNL_ALIGN(mnl_attr_get_len(attribute));
    attribute = mnl_attr_next(attribute);
  }
  return std::nullopt;
}

std::string_view NetlinkAttributes::text(std::uint16_t type) const {
  const auto payload = find(type);
  if (!payload) {
    return {};
  }
  const auto* const start = reinterpret_cast<const char*>(payload->data());
  return {start, ::strnlen(start, payload->size())};
}

void Netlink::Close::operator()(mnl_socket* socket) const {
  mnl_socket_close(socket);
}

Result<Netlink> Netlink::open() {
  std::unique_ptr<mnl_socket, Close> socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC));
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno("cannot open a socket to the kernel's network configuration (rtnetlink)");
  }
  return Netlink(std::move(socket));
}

Result<std::vector<std::byte>> Netlink::exchange(NetlinkRequest& request) {
  nlmsghdr* const message = request.header();
  message->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_.get(), message, message->nlmsg_len) < 0) {
    return fail_errno("rtnetlink");
  }
  std::vector<std::byte> answer(kAnswerBytes);
  ssize_t size = 0;
  do {
    size = mnl_socket_recvfrom(socket_.get(), answer.data(), answer.size());
  } while (size < 0 && errno == EINTR);
  if (size < 0) {
    return fail_errno("rtnetlink");
  }
  const auto* const header = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (!mnl_nlmsg_ok(header, static_cast<int>(size)) || header->nlmsg_seq != sequence_) {
    return fail("rtnetlink: the answer belongs to no question", EPROTO);
  }
  const auto* const payload = static_cast<const std::byte*>(mnl_nlmsg_get_payload(header));
  const std::size_t payload_bytes = mnl_nlmsg_get_payload_len(header);
  if (header->nlmsg_type == NLMSG_ERROR) {
    nlmsgerr error{};
    if (payload_bytes < sizeof error) {
      return fail("rtnetlink: the answer is too short", EPROTO);
    }
    std::memcpy(&error, payload, sizeof error);
    if (error.error != 0) {
      return fail(std::strerror(-error.error),
                  -error.error);  // NOLINT(concurrency-mt-unsafe): glibc's is safe
    }
    return std::vector<std::byte>{};
  }
  return std::vector<std::byte>(payload, payload + payload_bytes);
}

Status Netlink::change(NetlinkRequest& request) {
  request.header()->nlmsg_flags |= NLM_F_ACK;
  TAPIR_TRY(exchange(request));
  return {};
}

Result<NetlinkLink> Netlink::get_link(NetlinkRequest& request) {
  TAPIR_TRY_ASSIGN(std::vector<std::byte> message, exchange(request));
  if (message.size() < NLMSG_ALIGN(sizeof(ifinfomsg))) {
    return fail("rtnetlink: the answer is too short", EPROTO);
  }
  return NetlinkLink(std::move(message));
}

}  // namespace tapir::helper
