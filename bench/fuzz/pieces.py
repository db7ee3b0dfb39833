"""What means something to a reader, to be put where it is not expected."""

NUMBERS = (
    0, 1, -1, 2, 7, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1, 10**30,
)  # fmt: skip
NAMES = (
    "", "a", ".", "..", "*", "emb_params", "clip_l", "clip_g", "string_to_param", "string_to_param.*", "state_dict",
    "__metadata__", "lora_unet_mid_block_attentions_0_proj_in.alpha", "lora_unet_conv_in.lora_down.weight",
    "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight",
    "lora_te_text_model_encoder_layers_0_mlp_fc1.dora_scale",
    "lora_te2_x.hada_w1_a", "lora_unet_.lokr_w1",
    "unet.conv_in.lora_A.weight", "text_encoder.x.lora_magnitude_vector",
    "bundle_emb.x.string_to_param.*", "bundle_emb..clip_l", "model.diffusion_model.out.2.weight", "\x1b[31m", "\ud800",
    "a" * 400, "ß漢\u202e", "v_pred", "decoder.x", "lora_unet_x.alpha\n",
)  # fmt: skip
DTYPES = (
    "F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "C64", "U64", "F4", "", None, 7, ["F32"],
)  # fmt: skip
SHAPES: tuple[list[int], ...] = (
    [], [0], [1], [2, 8], [8, 2], [8, 2, 1, 1], [2, 8, 3, 3], [1] * 5, [0, 8], [3, 768], [2, 4, 4], [2, 2, 4, 4],
    [9000, 1], [1, 9000],
)  # fmt: skip
METADATA = {
    "ss_base_model_version": ("sdxl_base_v1-0", "sd_v2", "sd_v1", ""),
    "ss_v2": ("True", "maybe"),
    "ss_network_args": ("{", '{"algo": "lokr"}', "[" * 3000),
    "lora_adapter_metadata": (
        '{"unet.lora_alpha": 1e400}', "[]", '{"unet.lora_alpha": "x"}', '{"unet.alpha_pattern": 3}',
    ),
    "limner.run_card": ("{", "[1]", '{"seed": {}}', '{"a": NaN}', "[" * 3000),
    "sshs_model_hash": ("", "zz", "\x1b[31m", "A" * 3000),
    "modelspec.trigger_phrase": ("fox", "\n" * 50),
    "limner.architecture": ("{", "{}", '{"unet": 3}', "[" * 3000),
}  # fmt: skip
GLOBALS = (
    "os system", "posix system", "builtins exec", "__builtin__ eval", "builtins getattr", "subprocess Popen",
    "torch load", "torch.storage _load_from_bytes", "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter", "torch._utils _rebuild_device_tensor_from_numpy",
    "torch._tensor _rebuild_from_type_v2",
    "torch FloatStorage", "torch HalfStorage", "torch.storage UntypedStorage", "torch Size", "torch device",
    "torch float16",
    "collections OrderedDict", "_codecs encode", "numpy dtype", "numpy.core.multiarray scalar", "numpy ndarray",
    "numpy.core.multiarray _reconstruct", "pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint",
    "torch.nn.modules.container ParameterDict", "__builtin__ set", "builtins bytearray", "torch Tensor",
)  # fmt: skip
WORDS = (
    "(", ")", "[", "]", ":", "|", "\\", "<", ">", "<lora:", "<lora:fox:0.5>", "<lyco:x:te=1:unet=2>", ":1.3)", ":0.5]",
    "[a:b:0.5]", "[a|b|c]", "[[a::9]:b:.1]", " AND ", " BREAK ", " AND :-1e400", ":nan)", ":1.1.1)", ":٣)", ",", "\n",
    "\0", "\ud800", "漢字", "zqvx", "a fox", "1e999", "-", "Negative prompt:", "Steps: 20", "Size: 64x64", 'x: "',
    '\\"',
    "Lora hashes: ", "embedding:",
)  # fmt: skip
