#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains tiny vocabularies with the `tokenizers` and `sentencepiece` packages and writes what they answer.

    python3 tests/golden/make_tokenizers.py            writes tests/data/tokenizers/{pipelines.json,sp_*.model,sp.json}
    python3 tests/golden/make_tokenizers.py --real DIR also writes real.json from the GGUF files in DIR

Needs tokenizers, sentencepiece and protobuf (and gguf for --real), versions as in the requirements beside this file. The
corpus and the texts are in this file; training breaks ties by hash order, so another run writes other vocabularies, of
the same kinds. One file holds many pipelines over three small models, to stay small.
"""
import argparse
import io
import json
import os
import random
import tempfile

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "data", "tokenizers")

CORPUS = """The quick brown fox jumps over the lazy dog. It's a dog's life; we'll see what they've done, I'm sure you'd agree.
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice
she had peeped into the book her sister was reading, but it had no pictures or conversations in it. The THE There then
def forward(self, x):\n    return self.linear(x) + 1.0e-5  # comment\n\nfor (int i = 0; i < 100; ++i) { sum += a[i]; }
In 1999 there were 12345 people, 3.14159 of them 42 years old; 100% of 2,000,000.
Der schnelle braune Fuchs springt \u00fcber den faulen Hund. Gr\u00f6\u00dfe, M\u00e4dchen, Stra\u00dfe, \u00dcbung.
Le c\u0153ur d\u00e9\u00e7u mais l'\u00e2me plut\u00f4t na\u00efve, Lou\u00ffs r\u00eava de crapa\u00fcter en cano\u00eb.
El veloz murci\u00e9lago hind\u00fa com\u00eda feliz cardillo y kiwi. \u00bfQu\u00e9 pas\u00f3? \u00a1Ma\u00f1ana!
\u0421\u044a\u0435\u0448\u044c \u0436\u0435 \u0435\u0449\u0451 \u044d\u0442\u0438\u0445 \u043c\u044f\u0433\u043a\u0438\u0445 \u0444\u0440\u0430\u043d\u0446\u0443\u0437\u0441\u043a\u0438\u0445 \u0431\u0443\u043b\u043e\u043a, \u0434\u0430 \u0432\u044b\u043f\u0435\u0439 \u0447\u0430\u044e.
\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u73a9\u5427\u3002\u4f60\u597d\u4e16\u754c\u3002
\u3053\u3093\u306b\u3061\u306f\u4e16\u754c\u3002\u30ab\u30bf\u30ab\u30ca\u3068\u3072\u3089\u304c\u306a\u3002
\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4. \uc624\ub298 \ub0a0\uc528\uac00 \uc88b\uc2b5\ub2c8\ub2e4.
\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645. \u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd. \u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e. \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01
\U0001f600 \U0001f680 \u2764\ufe0f \U0001f468\u200d\U0001f469\u200d\U0001f467 caf\u00e9 cafe\u0301
""".split("\n") * 8


def nasty_texts():
    t = ["", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n", "\n ", " \n \n ", "\n\n\n\nx", "a\n\n\n", "a \n b",
        "x  ", "  x",
         " x y  z   w    v", "\t\tx\t y", "a\u00a0b\u2003c\u3000d", "\u00a0 \u00a0x", "\u0085x\u2028y\u2029",
         "\x0b\x0c x", "\x00", "a\x00b", "\x01\x1f\x7f",
         "a", "Z", "Hello", " Hello", "Hello world", "Hello, world!", "HELLO", "HeLLo WoRLD", "hello_world",
         "helloWorld", "XMLHttpRequest", "ABCdef ABc",
         "it's", "IT'S", "it'S we'LL they'Re I'vE I'M you'D can'T", "'s't're've'm'll'd", "' s '", "''s", "'sx 'llama",
         "it\u2019s", "'\u017f '\u017fX", "x'\u017fy",
         "1", "12", "123", "1234", "12345", "1234567890", "3.14", "1,000,000", "a1b2c3", "1a 2b", " 1 22 333 4444",
         "\u00bd \u00b2\u00b3 \u2167 \u0661\u0662\u0663 \uff11\uff12",
         "100%", "$5.00", "#1", "v1.2.3-beta+4", "0xFF", "1e-5", "!!", "!!!", "...", "....", "?!?!", "a.b.c", "a,b;c:d",
         "(a)[b]{c}", "<a href=\"b\">c</a>",
         "/path/to/file.txt", "C:\\dir\\x", "user@example.com", "https://a.b/c?d=e&f#g", "a/b//c", "...\n\n...",
         "!\r\n?", "// x\n/* y */", "a+b=c", "x^2~y`z|w",
         "for (int i = 0; i < 10; ++i) {\n    sum += a[i];\n}\n", "def f(x):\n\treturn x\n\n\nclass A:\n    pass",
         "if x==1:print('y')", "\"quoted\" 'single'",
         "na\u00efve caf\u00e9", "cafe\u0301", "e\u0301\u0301", "\u0301", " \u0301x", "a\u0308\u0323b", "\u1e9b\u0323",
         "\u00c5 A\u030a \u212b", "\ufb01\ufb02 \ufb03", "\u0130I\u0131i", "\u00df \u1e9e SS",
         "Stra\u00dfe \u00dcBER \u00fcber", "\u01c5 \u01c8 \u01f2", "\u02b0\u02b7 \u1d2c",
         "\u0421\u044a\u0435\u0448\u044c", "\u0416\u0436 \u0401\u0451",
         "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u03a3\u03c2",
         "\u4f60\u597d", "\u4f60\u597d\u4e16\u754c\u3002\u4eca\u5929", "\u3053\u3093\u306b\u3061\u306f",
         "\u30ab\u30bf\u30ab\u30ca ab", "\uc548\ub155", "\u1112\u1161\u11ab", "\u2f00\ufa0e \U00020000",
         "\u3000\u4e00\u3001\u4e8c",
         "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05c1\u05dc\u05d5\u05b9\u05dd",
         "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
         "\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd", "\u202ertl\u202c", "\u200b\u200c\u200d\u2060", "\ufeffx",
         "\U0001f600", "\U0001f600\U0001f601", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
         "\U0001f1e9\U0001f1ea\U0001f1eb", "\u2764\ufe0f", "1\ufe0f\u20e3", "\U0001f44d\U0001f3fd ok",
         "\U0001f600 a\U0001f600b 1\U0001f600",
         "\u00a9\u00ae\u2122", "\u2190\u2191", "\u2026 \u2014 \u2013", "\u00ab\u00bb\u201e\u201c", "\u20ac\u00a3\u00a5",
         "\u2581", "\u2581a", "a\u2581b", " \u2581 ", "\u2581\u2581\u2581", "\ufffd", "\U0010fffd", "\ue000",
         "\U000e0001", "\u0378",
         "<s>", "</s>", "<unk>", "<s> a </s>", "a<s>b</s>c", "<|endoftext|>", "x<|endoftext|>y",
         "<|endoftext|><|endoftext|>", " <|endoftext|> ", "<|endoftext|", "<<|endoftext|>>",
         "<|im_start|>user\nhi<|im_end|>\n",
         "<|strip|>", "a  <|strip|>  b", "\n<|strip|>\n\nb", "<|strip|> <|strip|>", "<|left|>", "a \u00a0<|left|> b",
         "word", "sword words word", "a word.", "word-word _word word_ w\u00f6rd", "Norm NORM norm",
         "n\u00f6rm no\u0308rm", "A  B",
         "<0x41>", "<0x0A>", "<0xFF>", "<0xff>", "\u0120a", "\u010a", "a b" * 30, "x" * 70, "ab" * 60, "\n" * 40,
         " " * 50 + "x", "\u00e9" * 45, "aaaa bbbb " * 8,
         "The quick brown fox jumps over the lazy dog.", "Alice was beginning to get very tired",
         "In 1999 there were 12345 people", "Gr\u00f6\u00dfe und \u00dcbung",
         "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed",
         "don't you think it's we'll?", "tabs\tand  spaces   \t mix", "line1\r\nline2\rline3\n", "   leading",
         "trailing   ", "\n\n  both  \n\n"]
    rng = random.Random(7)
    alphabet = ["a", "B", "th", "the", " ", "  ", "\n", "1", "23", "'s", "!", "\u00e9", "\u0301", "\u4f60",
        "\U0001f600", "\u200d", ".", "<s>", "\t", "\u0436", "\u00a0", "_"]
    for _ in range(40):
        t.append("".join(rng.choice(alphabet) for _ in range(rng.randint(2, 14))))
    return t


TEXTS = nasty_texts()
SPECIALS = ["<unk>", "<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def train_byte_level():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=700, special_tokens=SPECIALS, show_progress=False,
                                                        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return json.loads(tok.to_str())["model"]


def train_code_points():
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    bytes_ = ["<0x%02X>" % b for b in range(256)]
    tok.pre_tokenizer = pre_tokenizers.Split(Regex("\u2581?[^\u2581]+"),
        "isolated")  # words, so that merges do not cross
    tok.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=800, special_tokens=["<unk>", "<s>",
        "</s>"] + bytes_,
                                                        limit_alphabet=150, show_progress=False))
    return json.loads(tok.to_str())["model"]


def train_unigram():
    tok = Tokenizer(models.Unigram())
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=420, special_tokens=["<unk>", "<s>", "</s>"],
        unk_token="<unk>",
                                                            show_progress=False))
    return json.loads(tok.to_str())["model"]


LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
             r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
BYTES_GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)


def added(*names):
    kinds = {
        "<|strip|>": AddedToken("<|strip|>", special=True, rstrip=True, lstrip=True),
        "<|left|>": AddedToken("<|left|>", special=False, lstrip=True, normalized=False),
        "word": AddedToken("word", single_word=True, special=False, normalized=False),
        "norm": AddedToken("Norm", special=False, normalized=True),
        "n\u00f6rm": AddedToken("n\u00f6rm", special=False, normalized=True),
        "spaces": AddedToken("  ", special=False, normalized=False),
    }
    return [kinds[n] if n in kinds else AddedToken(n, special=True, normalized=False) for n in names]


def charsmap_blob():
    rules = [("\u00a0", " "), ("\u3000", " "), ("\t", " "), ("\ufb01", "fi"), ("\ufb02", "fl"), ("\u00bd", "1/2"),
        ("\uff11", "1"), ("\u2026", "..."),
             ("e\u0301", "\u00e9"), ("A\u030a", "\u00c5"), ("\u212b", "\u00c5"), ("\u200b", ""), ("\u00ad", ""),
             ("\u2764\ufe0f", "<3"), ("\u0421", "C"),
             ("\u1112\u1161\u11ab", "\ud55c"), ("a\u0308\u0323", "\u00e4"), ("\u00a9", "(c)"), ("\x01", "")]
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False, encoding="utf-8") as f:
        for a, b in rules:
            f.write(" ".join("%X" % ord(c) for c in a) + "\t" + " ".join("%X" % ord(c) for c in b) + "\n")
    return f.name


def pipelines():
    """name -> (model, changes to the model, build(tok))."""
    P = {}

    def add(name, model, setup, **changes):
        P[name] = (model, changes, setup)

    def seq(*steps):
        return pre_tokenizers.Sequence(list(steps))

    def byte_level(pre, post=None, norm=None, extra=("<|endoftext|>", "<|im_start|>", "<|im_end|>")):
        def setup(tok):
            tok.pre_tokenizer = pre
            tok.decoder = decoders.ByteLevel()
            if norm:
                tok.normalizer = norm
            if post:
                tok.post_processor = post
            tok.add_tokens(added(*extra))
        return setup

    bos = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    both = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A $B",
                                    special_tokens=[("<s>", 1), ("</s>", 2)])])
    add("gpt2", "bytes", byte_level(BYTES_GPT2))
    add("gpt2-prefix", "bytes", byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True)))
    add("llama3", "bytes", byte_level(seq(pre_tokenizers.Split(Regex(LLAMA3), "isolated"), BYTES), both),
        ignore_merges=True)
    add("qwen2", "bytes", byte_level(seq(pre_tokenizers.Split(Regex(QWEN2), "isolated"), BYTES),
        norm=normalizers.NFC()))
    add("qwen35", "bytes", byte_level(seq(pre_tokenizers.Split(Regex(QWEN35), "isolated"), BYTES),
        norm=normalizers.NFC()))
    add("o200k", "bytes", byte_level(seq(pre_tokenizers.Split(Regex(O200K), "isolated"), BYTES)))
    add("smollm", "bytes", byte_level(seq(pre_tokenizers.Digits(True), BYTES_GPT2)))
    add("falcon", "bytes", byte_level(seq(pre_tokenizers.Punctuation("contiguous"), BYTES_GPT2,
        pre_tokenizers.Digits(False),
                                          pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"))))
    add("deepseek3", "bytes", byte_level(seq(*[pre_tokenizers.Split(Regex(r), "isolated") for r in DEEPSEEK3], BYTES),
        bos))
    add("added", "bytes", byte_level(BYTES_GPT2, extra=("<s>", "<|endoftext|>", "<|strip|>", "<|left|>", "word",
        "spaces")))
    add("added-nfkc", "bytes", byte_level(BYTES_GPT2, norm=normalizers.Sequence([normalizers.NFKC(),
        normalizers.Lowercase()]),
                                          extra=("<s>", "norm", "n\u00f6rm", "word")))
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            if behavior in ("isolated", "contiguous") and invert:
                continue
            add(f"split-{behavior}{'-inverted' if invert else ''}", "bytes",
                byte_level(seq(pre_tokenizers.Split(Regex(r"[\s.]"), behavior, invert=invert), BYTES)))
    add("words", "bytes", byte_level(seq(pre_tokenizers.Whitespace(), pre_tokenizers.Digits(False), BYTES)))
    add("white-space", "bytes", byte_level(seq(pre_tokenizers.WhitespaceSplit(),
        pre_tokenizers.Punctuation("merged_with_previous"),
                                               pre_tokenizers.CharDelimiterSplit("-"), pre_tokenizers.Split("th",
                                                   "removed"), BYTES)))
    add("normal-forms", "bytes", byte_level(BYTES_GPT2, norm=normalizers.Sequence([
        normalizers.Strip(True, False), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Replace(Regex("[0-9]+"), "#"),
        normalizers.Replace("ll", "L"), normalizers.Nmt(), normalizers.Prepend("^")])))

    def llama(norm, pre=None, strip=1, post=bos, extra=("<unk>", "<s>", "</s>")):
        def setup(tok):
            tok.normalizer = norm
            if pre:
                tok.pre_tokenizer = pre
            tok.post_processor = post
            steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
            tok.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if strip else []))
            tok.add_tokens(added(*extra))
        return setup

    space = normalizers.Replace(" ", "\u2581")
    add("llama2", "points", llama(normalizers.Sequence([normalizers.Prepend("\u2581"), space])))
    add("gemma", "points", llama(space, pre_tokenizers.Split(" ", "merged_with_previous"), strip=0,
                                 extra=("<unk>", "<s>", "</s>", "spaces", "<|left|>")))
    add("unknown-fused", "points", llama(space, strip=0), byte_fallback=False, fuse_unk=True)
    add("unknown-single", "points", llama(space, strip=0), byte_fallback=False, fuse_unk=False)
    add("metaspace-first", "points", llama(normalizers.Strip(False, True),
        pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                                           extra=("<unk>", "<s>", "</s>", "word")))

    def uni(pre, norm=None, decoder=None):
        def setup(tok):
            tok.pre_tokenizer = pre
            if norm:
                tok.normalizer = norm
            tok.decoder = decoder or decoders.Metaspace(prepend_scheme=pre.prepend_scheme if hasattr(pre,
                "prepend_scheme") else "always")
            tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A $B", special_tokens=[("</s>",
                2)])
            tok.add_tokens(added("<s>", "</s>", "<|strip|>"))
        return setup

    rules = charsmap_blob()
    buffer = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=buffer, vocab_size=300,
        hard_vocab_limit=False,
                                   normalization_rule_tsv=rules, model_type="unigram", minloglevel=2)
    proto = pb.ModelProto.FromString(buffer.getvalue())
    blob = proto.normalizer_spec.precompiled_charsmap
    add("unigram", "unigram", uni(pre_tokenizers.Metaspace(prepend_scheme="always")))
    add("unigram-first", "unigram", uni(pre_tokenizers.Metaspace(prepend_scheme="first")))
    add("unigram-never", "unigram", uni(pre_tokenizers.Metaspace(prepend_scheme="never", split=False)))
    add("unigram-charsmap", "unigram", uni(pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
        pre_tokenizers.Metaspace()]),
                                           normalizers.Sequence([normalizers.Precompiled(blob),
                                               normalizers.Replace(Regex(" {2,}"), " ")]),
                                           decoders.Metaspace()))
    return P


def make_pipelines():
    base = {"bytes": train_byte_level(), "points": train_code_points(), "unigram": train_unigram()}
    out = {"texts": TEXTS, "models": base, "tokenizers": []}
    for name, (model, changes, setup) in pipelines().items():
        spec = dict(base[model], **changes)
        shell = Tokenizer(models.BPE() if model != "unigram" else models.Unigram())
        whole = json.loads(shell.to_str())
        whole["model"] = spec
        tok = Tokenizer.from_str(json.dumps(whole))
        if model == "bytes":
            tok.add_special_tokens(["<unk>", "<s>", "</s>"]) if not name.startswith("added") else None
        setup(tok)
        written = json.loads(tok.to_str())
        assert model == "unigram" or written["model"]["vocab"] == base[model]["vocab"]
        entry = {k: written[k] for k in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens")}
        entry.update(name=name, model=model, changes=changes, ids=[], plain={}, text={})
        for i, text in enumerate(TEXTS):
            tok.encode_special_tokens = False
            ids = tok.encode(text, add_special_tokens=True).ids
            entry["ids"].append(" ".join(map(str, ids)))
            tok.encode_special_tokens = True
            plain = tok.encode(text, add_special_tokens=False).ids
            tok.encode_special_tokens = False
            bare = tok.encode(text, add_special_tokens=False).ids
            # The package's unigram model finds control tokens in plain text; here plain text never becomes one.
            spelled = model == "unigram" and any(s in text for s in ("<s>", "</s>", "<unk>"))
            if model == "unigram" and "<unk>" in text:
                entry["ids"][-1] = None
            if plain != bare and not spelled:
                entry["plain"][str(i)] = " ".join(map(str, plain))
            decoded = tok.decode(bare, skip_special_tokens=True)
            if name == "added-nfkc":  # the package decodes these in their normalized spelling, broken by ByteLevel
                decoded = None
            if decoded != text:
                entry["text"][str(i)] = decoded
        out["tokenizers"].append(entry)
        print(f"{name}: {sum(len(x.split()) for x in entry['ids'] if x)} ids")
    share_ids(out["tokenizers"])
    path = os.path.join(OUT, "pipelines.json")
    with open(path, "w") as f:
        f.write(dump(out))
    print(os.path.getsize(path), "bytes", path)


def share_ids(entries):
    """Ids that an earlier pipeline gave for the same text become its index: half of the file otherwise."""
    first = {}
    for n, entry in enumerate(entries):
        for i, ids in enumerate(entry["ids"]):
            if ids is not None and first.setdefault((i, ids), n) != n:
                entry["ids"][i] = first[i, ids]


def dump(value):
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace('},{"normalizer"',
        '},\n{"normalizer"') + "\n"


def make_sentencepiece():
    rules = charsmap_blob()
    common = dict(minloglevel=2, hard_vocab_limit=False, num_threads=1)
    byte_fallback = dict(byte_fallback=True, character_coverage=0.98)
    kinds = {
        "llama": dict(model_type="bpe", vocab_size=620, normalization_rule_name="identity",
            remove_extra_whitespaces=False, split_digits=True,
                      allow_whitespace_only_pieces=True, **byte_fallback),
        "gemma": dict(model_type="bpe", vocab_size=620, normalization_rule_name="identity",
            remove_extra_whitespaces=False, add_dummy_prefix=False,
                      split_digits=True, allow_whitespace_only_pieces=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
                      **byte_fallback,
                      user_defined_symbols=["\n", "\n\n", "\n\n\n", "\u2581\u2581", "\u2581\u2581\u2581\u2581", "<b>",
                          "</b>", "word", "wor"],
                      control_symbols=["<start_of_turn>", "<end_of_turn>"]),
        "bpe_rules": dict(model_type="bpe", vocab_size=420, normalization_rule_tsv=rules,
            user_defined_symbols=["\u00bd", "word"]),
        "bpe_suffix": dict(model_type="bpe", vocab_size=380, normalization_rule_name="identity",
            treat_whitespace_as_suffix=True, character_coverage=0.98),
        "unigram": dict(model_type="unigram", vocab_size=400, normalization_rule_tsv=rules,
            user_defined_symbols=["word", "th", "\u00bd"]),
        "unigram_bytes": dict(model_type="unigram", vocab_size=640, normalization_rule_name="identity",
            remove_extra_whitespaces=False, **byte_fallback),
    }
    out = {"texts": TEXTS, "models": []}
    for name, options in kinds.items():
        buffer = io.BytesIO()
        spm.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=buffer, **common, **options)
        proto = pb.ModelProto.FromString(buffer.getvalue())
        proto.trainer_spec.ClearField("accept_language")
        variants = {name: proto}
        if name == "llama":  # pieces that must be taken apart again
            unused = pb.ModelProto.FromString(buffer.getvalue())
            normal = [p for p in unused.pieces if p.type == p.NORMAL and len(p.piece) > 1]
            for i, piece in enumerate(normal):
                if i % 3 == 1:
                    piece.type = piece.UNUSED
            variants["llama_unused"] = unused
        for variant, model in variants.items():
            data = model.SerializeToString()
            with open(os.path.join(OUT, f"sp_{variant}.model"), "wb") as f:
                f.write(data)
            sp = spm.SentencePieceProcessor(model_proto=data)
            entry = {"name": variant, "ids": [], "text": {}}
            for i, text in enumerate(TEXTS):
                ids = sp.encode(text)
                entry["ids"].append(" ".join(map(str, ids)))
                decoded = sp.decode(ids)
                if decoded != text:
                    entry["text"][str(i)] = decoded
            out["models"].append(entry)
            print(f"{variant}: {len(data)} bytes, {sp.get_piece_size()} pieces")
    path = os.path.join(OUT, "sp.json")
    with open(path, "w") as f:
        f.write(dump(out))
    print(os.path.getsize(path), "bytes", path)


def make_real(folder):
    """Expected ids of the two real vocabularies, rebuilt from their GGUF files for the two packages."""
    import gguf
    out = {"texts": TEXTS + CORPUS[:14], "models": []}
    texts = out["texts"]
    for name in ("smollm2-135m", "gemma3-270m"):
        fields = gguf.GGUFReader(os.path.join(folder, name + ".gguf")).fields
        get = lambda key: fields["tokenizer.ggml." + key].contents()
        tokens, types = get("tokens"), get("token_type")
        entry = {"name": name, "ids": []}
        if get("model") == "gpt2":
            merges = [tuple(m.split(" ")) for m in get("merges")]
            tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
            tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), BYTES_GPT2])
            tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t, y in zip(tokens,
                types) if y == 3])
            encode = lambda text: tok.encode(text, add_special_tokens=False).ids
        else:
            proto = pb.ModelProto()
            for token, score, kind in zip(tokens, get("scores"), types):
                piece = proto.pieces.add(score=score, type=kind)
                piece.piece = token.replace(" ", "\u2581") if kind == 4 else token
            unk = fields["tokenizer.ggml.unknown_token_id"].contents()
            proto.pieces[unk].type = pb.ModelProto.SentencePiece.UNKNOWN
            t, n = proto.trainer_spec, proto.normalizer_spec
            t.model_type, t.byte_fallback, t.unk_id = 2, True, unk
            t.bos_piece, t.eos_piece, t.pad_piece, t.unk_piece = tokens[2], tokens[1], tokens[0], tokens[unk]
            n.add_dummy_prefix, n.remove_extra_whitespaces, n.escape_whitespaces = False, False, True
            sp = spm.SentencePieceProcessor(model_proto=proto.SerializeToString())
            # Its user-defined runs of U+2581 are spelled with spaces in GGUF: that character itself is not one there.
            encode = lambda text: None if "\u2581" in text else sp.encode(text)
        for text in texts:
            ids = encode(text)
            entry["ids"].append(None if ids is None else " ".join(map(str, ids)))
        out["models"].append(entry)
        print(name, sum(len(x.split()) for x in entry["ids"] if x), "ids")
    path = os.path.join(OUT, "real.json")
    with open(path, "w") as f:
        f.write(dump(out))
    print(os.path.getsize(path), "bytes", path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", metavar="DIR")
    parser.add_argument("--only-real", action="store_true")
    arguments = parser.parse_args()
    os.makedirs(OUT, exist_ok=True)
    if not arguments.only_real:
        make_pipelines()
        make_sentencepiece()
    if arguments.real:
        make_real(arguments.real)
