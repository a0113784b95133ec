// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/unpack.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace tapir::vmm::boot {
namespace {

constexpr std::size_t kChunkBytes = 256U << 10U;

/// Reads a file from its start to its end, chunk by chunk.
class Source {
 public:
  Source(const ImageFile& file, std::uint64_t size) : file_(file), size_(size), buffer_(kChunkBytes) {}

  /// The next bytes; none at the end.
  Result<std::span<const std::byte>> next() {
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(size_ - offset_, buffer_.size()));
    TAPIR_TRY(file_.read(offset_, std::span(buffer_).first(bytes)));
    offset_ += bytes;
    return std::span<const std::byte>(buffer_).first(bytes);
  }

 private:
  const ImageFile& file_;
  std::uint64_t size_;
  std::uint64_t offset_ = 0;
  std::vector<std::byte> buffer_;
};

/// Collects what was unpacked, up to the limit.
class Sink {
 public:
  Sink(UniqueFd fd, std::uint64_t limit) : fd_(std::move(fd)), limit_(limit), buffer_(kChunkBytes) {}

  std::span<std::byte> space() { return buffer_; }
  bool full() const { return full_; }

  /// The first `bytes` of space() are new.
  Status take(std::size_t bytes, const ImageFile& file) {
    const auto kept = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, limit_ - total_));
    full_ = full_ || kept < bytes;
    std::span<const std::byte> rest = std::span<const std::byte>(buffer_).first(kept);
    while (!rest.empty()) {
      const ssize_t written = ::write(fd_.get(), rest.data(), rest.size());
      if (written < 0 && errno == EINTR) {
        continue;
      }
      if (written < 0) {
        return fail_errno(fmt::format("{}: unpacking it into memory", file.label()));
      }
      rest = rest.subspan(static_cast<std::size_t>(written));
    }
    total_ += kept;
    return {};
  }

  Unpacked finish(const ImageFile& file) && { return {ImageFile(std::move(fd_), file.label()), full_}; }

 private:
  UniqueFd fd_;
  std::uint64_t limit_;
  std::uint64_t total_ = 0;
  bool full_ = false;
  std::vector<std::byte> buffer_;
};

tl::unexpected<Error> ends_early(const ImageFile& file, std::string_view format) {
  return fail(fmt::format("{} is truncated: its {} data have no end", file.label(), format));
}

tl::unexpected<Error> damaged_data(const ImageFile& file, std::string_view format, std::string_view why) {
  return fail(fmt::format("{} is damaged: {} says {}", file.label(), format, why));
}

struct InflateEnd {
  void operator()(z_stream* stream) const { ::inflateEnd(stream); }
};

/// RFC 1952. What follows the first member is left alone, as in a kernel with an appended signature.
Status unpack_gzip(const ImageFile& file, Source& source, Sink& sink) {
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  z_stream stream{};
  if (::inflateInit2(&stream, kGzipOnly) != Z_OK) {
    return fail(fmt::format("{}: no memory to unpack it", file.label()));
  }
  const std::unique_ptr<z_stream, InflateEnd> guard(&stream);
  for (int state = Z_OK; state != Z_STREAM_END && !sink.full();) {
    TAPIR_TRY_ASSIGN(const std::span<const std::byte> input, source.next());
    if (input.empty()) {
      return ends_early(file, "gzip");
    }
    // zlib does not write to its input, but its interface says so only when ZLIB_CONST is defined.
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(input.data()));
    stream.avail_in = static_cast<uInt>(input.size());
    do {
      const std::span<std::byte> space = sink.space();
      stream.next_out = reinterpret_cast<Bytef*>(space.data());
      stream.avail_out = static_cast<uInt>(space.size());
      state = ::inflate(&stream, Z_NO_FLUSH);
      if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR) {
        return damaged_data(file, "gzip", stream.msg != nullptr ? stream.msg : "unknown error");
      }
      TAPIR_TRY(sink.take(space.size() - stream.avail_out, file));
    } while (state == Z_OK && stream.avail_out == 0 && !sink.full());
  }
  return {};
}

struct FreeDStream {
  void operator()(ZSTD_DStream* stream) const { ::ZSTD_freeDStream(stream); }
};

/// RFC 8878. Only the first frame counts, as above.
Status unpack_zstd(const ImageFile& file, Source& source, Sink& sink) {
  const std::unique_ptr<ZSTD_DStream, FreeDStream> stream(::ZSTD_createDStream());
  if (stream == nullptr) {
    return fail(fmt::format("{}: no memory to unpack it", file.label()));
  }
  bool ended = false;
  while (!ended && !sink.full()) {
    TAPIR_TRY_ASSIGN(const std::span<const std::byte> chunk, source.next());
    if (chunk.empty()) {
      return ends_early(file, "zstd");
    }
    ZSTD_inBuffer input{chunk.data(), chunk.size(), 0};
    bool more = true;
    while (more && !ended && !sink.full()) {
      const std::span<std::byte> space = sink.space();
      ZSTD_outBuffer output{space.data(), space.size(), 0};
      const std::size_t state = ::ZSTD_decompressStream(stream.get(), &output, &input);
      if (::ZSTD_isError(state) != 0) {
        return damaged_data(file, "zstd", ::ZSTD_getErrorName(state));
      }
      TAPIR_TRY(sink.take(output.pos, file));
      ended = state == 0;
      more = input.pos < input.size || output.pos == output.size;
    }
  }
  return {};
}

}  // namespace

Result<std::optional<Unpacked>> unpack(const ImageFile& file, std::uint64_t limit) {
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  std::array<std::uint8_t, 4> magic{};
  TAPIR_TRY(file.read(
      0, std::as_writable_bytes(std::span(magic)).first(std::min<std::uint64_t>(size, magic.size()))));
  const bool gzip = magic[0] == 0x1F && magic[1] == 0x8B;
  const bool zstd = magic[0] == 0x28 && magic[1] == 0xB5 && magic[2] == 0x2F && magic[3] == 0xFD;
  if (!gzip && !zstd) {
    return std::optional<Unpacked>();
  }
  UniqueFd fd(::memfd_create("tapir-kernel", MFD_CLOEXEC));
  if (!fd) {
    return fail_errno("memfd_create");
  }
  Source source(file, size);
  Sink sink(std::move(fd), limit);
  TAPIR_TRY(gzip ? unpack_gzip(file, source, sink) : unpack_zstd(file, source, sink));
  return std::move(sink).finish(file);
}

}  // namespace tapir::vmm::boot
