"""Models that no trainer makes: every mode, aggregate, transform and odd combination of the classical operators."""

import numpy as np
from onnx import TensorProto, helper

ML = "ai.onnx.ml"
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
POSTS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
FEATURES = 5


def model(nodes, inputs, outputs, ml=3, opset=17, extra=()):
    if not isinstance(nodes, list):
        nodes = [nodes]
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    results = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs]
    graph = helper.make_graph(nodes, "crafted", infos, results)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ML, ml)]
    opsets += [helper.make_opsetid(domain, 1) for domain in extra]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10 if ml > 3 else 8)


def trees(noise, count, modes, outputs, positive=False, spread=True, depth=3):
    """Lists of nodes and of weights. Thresholds are on a grid that inputs hit."""
    nodes = {key: [] for key in ["treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true"]}
    weights = {key: [] for key in ["treeids", "nodeids", "ids", "weights"]}

    def add(tree, counter, level):
        number = counter[0]
        counter[0] += 1
        leaf = level == depth or noise.random() < 0.2
        place = len(nodes["treeids"])
        nodes["treeids"].append(tree)
        nodes["nodeids"].append(number)
        nodes["featureids"].append(0 if leaf else int(noise.integers(FEATURES)))
        nodes["values"].append(0.0 if leaf else float(noise.integers(-4, 5)) / 2)
        nodes["modes"].append("LEAF" if leaf else str(noise.choice(modes)))
        nodes["missing_value_tracks_true"].append(0 if leaf else int(noise.integers(2)))
        nodes["truenodeids"].append(0)
        nodes["falsenodeids"].append(0)
        if leaf:
            chosen = range(outputs) if spread else [tree % outputs]
            for output in chosen:
                weights["treeids"].append(tree)
                weights["nodeids"].append(number)
                weights["ids"].append(output)
                value = float(noise.normal())
                weights["weights"].append(abs(value) / count if positive else value)
        else:
            nodes["truenodeids"][place] = add(tree, counter, level + 1)
            nodes["falsenodeids"][place] = add(tree, counter, level + 1)
        return number

    for tree in range(count):
        add(tree, [0], 0)
    return {f"nodes_{key}": value for key, value in nodes.items()}, weights


def grid(noise, kind=np.float32, rows=40):
    x = (noise.integers(-5, 6, size=(rows, FEATURES)) / 2).astype(kind)
    if x.dtype.kind == "f":
        x[noise.random(x.shape) < 0.15] = np.nan
        x[noise.random(x.shape) < 0.05] = -0.0
        x[noise.random(x.shape) < 0.03] = np.inf
        x[noise.random(x.shape) < 0.03] = -np.inf
    return x


def calls(x):
    return [{"x": x}, {"x": x[:1]}]


def tensors(attributes, names):
    """The same lists as 64-bit tensors."""
    out = {}
    for key, value in attributes.items():
        if key in names:
            out[key + "_as_tensor"] = helper.make_tensor(key, TensorProto.DOUBLE, [len(value)], value)
        else:
            out[key] = value
    return out


def regressors(noise):
    for aggregate in ["SUM", "AVERAGE", "MIN", "MAX"]:
        for targets, base, post in [(1, 0, "NONE"), (1, 1, "PROBIT"), (3, 3, "NONE"), (3, 0, "SOFTMAX"), (2, 2, "LOGISTIC"), (1, 1, "LOGISTIC")]:
            for double in [False, True]:
                nodes, weights = trees(noise, 13, MODES, targets, positive=post == "PROBIT")
                attributes = {**nodes, **{f"target_{key}": value for key, value in weights.items()}}
                if base:
                    attributes["base_values"] = [0.01 if post == "PROBIT" else float(v) for v in noise.normal(size=base)]
                if double:
                    attributes = tensors(attributes, ["nodes_values", "target_weights", "base_values"])
                node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain=ML, n_targets=targets, aggregate_function=aggregate, post_transform=post, **attributes)
                kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
                proto = model(node, [("x", kind, [None, FEATURES])], [("y", TensorProto.FLOAT)])
                name = f"regressor-{aggregate}-{targets}-{base}-{post}-{'f64' if double else 'f32'}"
                yield name, lambda proto=proto: proto, calls(grid(noise, np.float64 if double else np.float32))
    for mode in MODES:
        nodes, weights = trees(noise, 20, [mode], 1)
        attributes = {**nodes, **{f"target_{key}": value for key, value in weights.items()}}
        node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain=ML, n_targets=1, **attributes)
        proto = model(node, [("x", TensorProto.FLOAT, [None, FEATURES])], [("y", TensorProto.FLOAT)])
        yield f"regressor-{mode}", lambda proto=proto: proto, calls(grid(noise))


def classifiers(noise):
    for classes in [2, 3, 4]:
        for spread in ["all", "one", "first", "second"]:
            if classes > 2 and spread in ["first", "second"]:
                continue
            for positive in [False, True]:
                for base in [0, 1, classes]:
                    if base == 1 and classes > 2:
                        continue
                    for post in POSTS:
                        if post == "PROBIT" and (not positive or (spread == "first" and base < 2)):
                            continue  # not a probability; or ONNX Runtime leaves the second score as it was in memory
                        outputs = 1 if spread in ["first", "second"] else classes
                        nodes, weights = trees(noise, 12, MODES[:4], outputs, positive, spread == "all", depth=2)
                        if spread == "second":
                            weights["ids"] = [1] * len(weights["ids"])
                        attributes = {**nodes, **{f"class_{key}": value for key, value in weights.items()}}
                        if base:
                            attributes["base_values"] = [float(v) / 20 for v in np.abs(noise.normal(size=base))]
                        double = classes == 3 and post == "SOFTMAX"
                        if double:
                            attributes = tensors(attributes, ["nodes_values", "class_weights", "base_values"])
                        labels = {"classlabels_int64s": list(range(classes))} if positive else {"classlabels_strings": ["no", "yes", "so", "la"][:classes]}
                        node = helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "scores"], domain=ML, post_transform=post, **labels, **attributes)
                        kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
                        label = TensorProto.INT64 if positive else TensorProto.STRING
                        proto = model(node, [("x", kind, [None, FEATURES])], [("label", label), ("scores", TensorProto.FLOAT)])
                        name = f"classifier-{classes}-{spread}-{'positive' if positive else 'mixed'}-{base}-{post}"
                        yield name, lambda proto=proto: proto, calls(grid(noise, np.float64 if double else np.float32))


def ensembles(noise):
    """`TreeEnsemble` of version 5, with set membership."""
    numbers = {"BRANCH_LEQ": 0, "BRANCH_LT": 1, "BRANCH_GTE": 2, "BRANCH_GT": 3, "BRANCH_EQ": 4, "BRANCH_NEQ": 5}
    for aggregate in [0, 1, 2, 3]:
        for double in [False, True]:
            kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
            lists = {key: [] for key in ["features", "splits", "modes", "true", "false", "trueleaf", "falseleaf", "missing"]}
            leaves, roots, members = [], [], []

            def grow(level):
                place = len(lists["features"])
                for value in lists.values():
                    value.append(0)
                mode = int(noise.integers(7))
                lists["features"][place] = int(noise.integers(FEATURES))
                lists["splits"][place] = float(noise.integers(-4, 5)) / 2
                lists["modes"][place] = mode
                lists["missing"][place] = int(noise.integers(2))
                if mode == 6:
                    members.extend([*(float(v) for v in noise.choice(np.arange(-2, 3), 3, replace=False)), np.nan])
                for side in ["true", "false"]:
                    if level == 3 or noise.random() < 0.2:
                        lists[side][place], lists[side + "leaf"][place] = len(leaves), 1
                        leaves.append((int(noise.integers(2)), float(noise.normal())))
                    else:
                        lists[side][place] = grow(level + 1)
                return place

            for _ in range(11):
                roots.append(grow(0))
            node = helper.make_node(
                "TreeEnsemble", ["x"], ["y"], domain=ML, n_targets=2, aggregate_function=aggregate, post_transform=0,
                tree_roots=roots, nodes_featureids=lists["features"], nodes_truenodeids=lists["true"], nodes_falsenodeids=lists["false"],
                nodes_trueleafs=lists["trueleaf"], nodes_falseleafs=lists["falseleaf"], nodes_missing_value_tracks_true=lists["missing"],
                nodes_modes=helper.make_tensor("modes", TensorProto.UINT8, [len(lists["modes"])], lists["modes"]),
                nodes_splits=helper.make_tensor("splits", kind, [len(lists["splits"])], lists["splits"]),
                leaf_targetids=[target for target, _ in leaves],
                leaf_weights=helper.make_tensor("weights", kind, [len(leaves)], [weight for _, weight in leaves]),
                membership_values=helper.make_tensor("members", kind, [len(members)], members),
            )
            proto = model(node, [("x", kind, [None, FEATURES])], [("y", kind)], ml=5)
            # Whole numbers: ONNX Runtime cuts fractions off before it looks a value up in a set, which the standard does not.
            x = np.round(grid(noise, np.float64 if double else np.float32))
            yield f"ensemble-{aggregate}-{'f64' if double else 'f32'}", lambda proto=proto: proto, calls(x)


def linear(noise):
    x = noise.normal(size=(30, FEATURES)).astype(np.float32)
    for targets in [1, 2, 4]:
        coefficients, intercepts = noise.normal(size=targets * FEATURES).tolist(), noise.normal(size=targets).tolist()
        for post in POSTS[:4]:
            node = helper.make_node("LinearRegressor", ["x"], ["y"], domain=ML, coefficients=coefficients, intercepts=intercepts, targets=targets, post_transform=post)
            proto = model(node, [("x", TensorProto.FLOAT, [None, FEATURES])], [("y", TensorProto.FLOAT)], ml=1)
            yield f"linear-regressor-{targets}-{post}", lambda proto=proto: proto, calls(x)
            for labels in [{"classlabels_ints": list(range(max(targets, 2)))}, {"classlabels_strings": list("abcd")[: max(targets, 2)]}]:
                node = helper.make_node("LinearClassifier", ["x"], ["label", "scores"], domain=ML, coefficients=coefficients, intercepts=intercepts, post_transform=post, **labels)
                kind = TensorProto.INT64 if "classlabels_ints" in labels else TensorProto.STRING
                proto = model(node, [("x", TensorProto.FLOAT, [None, FEATURES])], [("label", kind), ("scores", TensorProto.FLOAT)], ml=1)
                yield f"linear-classifier-{targets}-{post}-{kind}", lambda proto=proto: proto, calls(x)
                yield f"linear-classifier-double-{targets}-{post}-{kind}", lambda node=node, kind=kind: model(node, [("x", TensorProto.DOUBLE, [None, FEATURES])], [("label", kind), ("scores", TensorProto.FLOAT)], ml=1), calls(x.astype(np.float64))


def small(noise):
    """One operator each."""
    F, D, I, S, B = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL
    x = grid(noise)
    finite = noise.normal(size=(12, FEATURES)).astype(np.float32)
    ints = noise.integers(-3, 6, size=(12, 3)).astype(np.int64)
    words = np.array([["a", "b"], ["c", ""], ["zzz", "a"]], dtype=object)

    def one(name, op, feed, out, ml=True, version=3, opset=17, domain=None, **attributes):
        domain = domain if domain is not None else (ML if ml else "")
        kinds = {"float32": F, "float64": D, "int64": I, "int32": TensorProto.INT32, "object": S, "bool": B}
        names = list(feed)
        inputs = [(key, kinds[str(np.asarray(value).dtype)], [None] * np.asarray(value).ndim) for key, value in feed.items()]
        outs = out if isinstance(out, list) else [out]
        results = [f"y{index}" for index in range(len(outs))]
        node = helper.make_node(op, names, results, domain=domain, **attributes)
        extra = [domain] if domain == "com.microsoft" else []
        return name, lambda: model(node, inputs, list(zip(results, outs)), ml=version, opset=opset, extra=extra), [feed]

    for kind in [np.float32, np.float64, np.int64, np.int32]:
        feed = {"x": (finite * 3).astype(kind)}
        yield one(f"scaler-{np.dtype(kind)}", "Scaler", feed, F, offset=[0.1, 0.2, 0.3, 0.4, 0.5], scale=[1.5, 2.5, 0.1, 3.0, 1.0])
        yield one(f"scaler-one-{np.dtype(kind)}", "Scaler", feed, F, offset=[0.1], scale=[1.5])
        for norm in ["MAX", "L1", "L2"]:
            yield one(f"normalizer-{norm}-{np.dtype(kind)}", "Normalizer", feed, F, norm=norm)
    yield one("normalizer-zero", "Normalizer", {"x": np.zeros((2, 3), np.float32)}, F, norm="L2")
    yield one("imputer-nan", "Imputer", {"x": x}, F, imputed_value_floats=[1.0, 2.0, 3.0, 4.0, 5.0], replaced_value_float=float("nan"))
    yield one("imputer-value", "Imputer", {"x": x}, F, imputed_value_floats=[9.0], replaced_value_float=0.0)
    yield one("imputer-int", "Imputer", {"x": ints}, I, imputed_value_int64s=[7, 8, 9], replaced_value_int64=-1)
    yield one("binarizer", "Binarizer", {"x": finite}, F, threshold=0.5)
    yield one("onehot-int", "OneHotEncoder", {"x": ints}, F, cats_int64s=[0, 2, 4, 5])
    yield one("onehot-float", "OneHotEncoder", {"x": x}, F, cats_int64s=[0, 2, 1])
    yield one("onehot-text", "OneHotEncoder", {"x": words}, F, cats_strings=["a", "", "c"])
    yield one("label-v1", "LabelEncoder", {"x": words}, I, version=1, classes_strings=["a", "b", "a"], default_int64=-7)
    yield one("label-v1-back", "LabelEncoder", {"x": ints}, S, version=1, classes_strings=["a", "b", "c"])
    keys = {"strings": ["a", "c", "zzz"], "int64s": [0, 2, 5], "floats": [0.0, 1.5, float("nan")]}
    feeds = {"strings": words, "int64s": ints, "floats": x}
    outs = {"strings": S, "int64s": I, "floats": F}
    for source, key in keys.items():
        for target, value in keys.items():
            yield one(f"label-{source}-{target}", "LabelEncoder", {"x": feeds[source]}, outs[target], **{f"keys_{source}": key, f"values_{target}": value})
    yield one(
        "label-tensors", "LabelEncoder", {"x": x.astype(np.float64)}, S, version=4,
        keys_tensor=helper.make_tensor("k", D, [3], [0.0, 1.5, float("nan")]),
        values_tensor=helper.make_tensor("v", S, [3], [b"zero", b"more", b"none"]),
        default_tensor=helper.make_tensor("d", S, [1], [b"other"]),
    )
    yield one("mapper", "CategoryMapper", {"x": words}, I, cats_strings=["a", "b", "c"], cats_int64s=[4, 5, 6])
    yield one("mapper-back", "CategoryMapper", {"x": ints}, S, cats_strings=["a", "b", "c"], cats_int64s=[4, 5, 2])
    yield one("feature-vectorizer", "FeatureVectorizer", {"x": finite, "z": finite[:, :3]}, F, inputdimensions=[5, 3])
    yield one("extractor", "ArrayFeatureExtractor", {"x": finite, "z": np.array([3, 0, 3], np.int64)}, F)
    yield one("extractor-text", "ArrayFeatureExtractor", {"x": words, "z": np.array([1], np.int64)}, S)
    for case in ["NONE", "LOWER", "UPPER"]:
        feed = {"x": np.array(["Hello", "WORLD", "the", "Ärger", "The"], dtype=object)}
        yield one(f"string-{case}", "StringNormalizer", feed, S, ml=False, locale="C", case_change_action=case, is_case_sensitive=int(case == "UPPER"), stopwords=["the"])
    sentences = np.array([["one two  three", "a,b"], ["", "x"]], dtype=object)
    token = dict(domain="com.microsoft", mark=0, pad_value="#", mincharnum=1)
    yield one("token-separators", "Tokenizer", {"x": sentences}, S, separators=[" ", ","], **token)
    yield one("token-marked", "Tokenizer", {"x": sentences}, S, separators=[" "], **{**token, "mark": 1})
    yield one("token-characters", "Tokenizer", {"x": sentences}, S, separators=[""], **{**token, "mark": 1})
    yield one("token-pattern", "Tokenizer", {"x": sentences}, S, tokenexp="[a-z]+", **{**token, "mincharnum": 2})
    grams = dict(min_gram_length=1, max_gram_length=2, max_skip_count=1, ngram_counts=[0, 3], ngram_indexes=[0, 1, 2, 3, 4], pool_int64s=[1, 2, 3, 1, 2, 2, 3])
    for mode in ["TF", "IDF", "TFIDF"]:
        feed = {"x": noise.integers(0, 4, size=(6, 7)).astype(np.int64)}
        yield one(f"tfidf-{mode}", "TfIdfVectorizer", feed, F, ml=False, mode=mode, weights=[0.5, 1.5, 2.0, 0.25, 3.0], **grams)
        yield one(f"tfidf-flat-{mode}", "TfIdfVectorizer", {"x": feed["x"][0]}, F, ml=False, mode=mode, **grams)
    for op in ["Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sigmoid", "Tanh", "Relu", "Erf", "Floor", "Ceil", "Round", "Sign", "Softplus", "LeakyRelu", "Elu"]:
        yield one(f"unary-{op}", op, {"x": x}, F, ml=False)
    yield one("is-nan", "IsNaN", {"x": x}, B, ml=False)
    yield one("is-inf", "IsInf", {"x": x}, B, ml=False)
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Sum", "Mean"]:
        for shape in [(12, 5), (5,), (12, 1), (1,), ()]:
            feed = {"x": finite, "z": np.asarray(np.abs(noise.normal(size=shape)), dtype=np.float32)}
            yield one(f"binary-{op}-{len(shape)}-{sum(shape)}", op, feed, F, ml=False)
    for op in ["Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"]:
        yield one(f"compare-{op}", op, {"x": x, "z": x[:1]}, B, ml=False)
    for op in ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"]:
        cube = np.abs(noise.normal(size=(3, 4, 5))).astype(np.float32)
        for axes in [[0], [1], [-1], [0, 2], None]:
            more = {} if axes is None else {"axes": axes}
            yield one(f"{op}-{axes}", op, {"x": cube}, F, ml=False, opset=12, keepdims=int(axes != [1]), **more)
    for op in ["ArgMax", "ArgMin"]:
        for axis in [0, 1, -1]:
            yield one(f"{op}-{axis}", op, {"x": finite}, I, ml=False, axis=axis, keepdims=axis % 2)
    yield one("argmax-ties", "ArgMax", {"x": np.ones((2, 3), np.float32)}, I, ml=False, axis=1, select_last_index=1)
    for opset in [11, 17]:
        for axis in [0, 1, 2]:
            cube = noise.normal(size=(3, 4, 5)).astype(np.float32)
            yield one(f"softmax-{opset}-{axis}", "Softmax", {"x": cube}, F, ml=False, opset=opset, axis=axis)
            yield one(f"log-softmax-{opset}-{axis}", "LogSoftmax", {"x": cube}, F, ml=False, opset=opset, axis=axis)
    cube = noise.normal(size=(2, 3, 4)).astype(np.float32)
    for perm in [[2, 1, 0], [0, 2, 1], [1, 0, 2]]:
        yield one(f"transpose-{perm}", "Transpose", {"x": cube}, F, ml=False, perm=perm)
    index = lambda *values: np.array(values, np.int64)
    yield one("slice-steps", "Slice", {"x": cube, "s": index(-1, 0), "e": index(-10, 3), "a": index(2, 1), "t": index(-2, 2)}, F, ml=False)
    yield one("slice-plain", "Slice", {"x": cube, "s": index(1), "e": index(2**40), "a": index(1)}, F, ml=False)
    for axis in [0, 1, 2]:
        yield one(f"gather-{axis}", "Gather", {"x": cube, "z": np.array([[0, -1], [1, 0]], np.int64)}, F, ml=False, axis=axis)
        yield one(f"concat-{axis}", "Concat", {"x": cube, "z": cube}, F, ml=False, axis=axis)
        yield one(f"gather-elements-{axis}", "GatherElements", {"x": cube, "z": noise.integers(-2, 2, size=(2, 2, 3)).astype(np.int64)}, F, ml=False, axis=axis)
    scatter = {"x": cube, "z": np.array([[[0, 1], [2, -1]]], np.int64), "u": noise.normal(size=(1, 2, 2)).astype(np.float32)}
    yield one("scatter", "ScatterElements", scatter, F, ml=False, axis=2)
    yield one("split", "Split", {"x": cube, "z": index(1, 3)}, [F, F], ml=False, axis=2)
    yield one("tile", "Tile", {"x": cube, "z": index(2, 1, 3)}, F, ml=False)
    yield one("expand", "Expand", {"x": cube[:, :1], "z": index(2, 2, 3, 4)}, F, ml=False)
    for largest in [0, 1]:
        yield one(f"top-k-{largest}", "TopK", {"x": finite, "z": index(3)}, [F, I], ml=False, largest=largest)
        yield one(f"cumsum-{largest}", "CumSum", {"x": finite, "z": np.array(1, np.int64)}, F, ml=False, exclusive=largest, reverse=largest)
    yield one("reshape", "Reshape", {"x": cube, "z": index(0, -1)}, F, ml=False)
    yield one("flatten", "Flatten", {"x": cube}, F, ml=False, axis=2)
    yield one("squeeze", "Squeeze", {"x": cube[:1], "z": index(0)}, F, ml=False)
    yield one("unsqueeze", "Unsqueeze", {"x": cube, "z": index(0, -1)}, F, ml=False)
    yield one("shape", "Shape", {"x": cube}, I, ml=False)
    yield one("where", "Where", {"c": finite > 0, "x": finite, "z": np.array([[2.0]], np.float32)}, F, ml=False)
    yield one("where-text", "Where", {"c": np.array([[True], [False], [True]]), "x": words, "z": words[:1]}, S, ml=False)
    for target in [F, D, I, B, S, TensorProto.INT32, TensorProto.UINT8]:
        source = {"x": np.array([[1.0, 0.0, -2.5, 3.75, 1234.5, 0.1, 1e-7]], np.float32)}
        if target == TensorProto.UINT8:
            source = {"x": np.abs(source["x"]) % 100}
        yield one(f"cast-{target}", "Cast", source, target, ml=False, to=target)
    yield one("cast-int-text", "Cast", {"x": ints}, S, ml=False, to=S)
    yield one("cast-text-float", "Cast", {"x": np.array(["1.5", "-2", "1e3", "nan"], dtype=object)}, F, ml=False, to=F)
    yield one("cast-text-int", "Cast", {"x": np.array(["15", "-2"], dtype=object)}, I, ml=False, to=I)
    a, b = noise.normal(size=(2, 1, 6, 7)).astype(np.float32), noise.normal(size=(3, 7, 9)).astype(np.float32)
    yield one("matmul-broadcast", "MatMul", {"x": a, "z": b}, F, ml=False)
    yield one("matmul-vector", "MatMul", {"x": a, "z": b[0, :, 0]}, F, ml=False)
    yield one("gemm", "Gemm", {"x": b[0], "z": b[1], "c": b[0, 0]}, F, ml=False, transA=1, alpha=0.5, beta=2.0)
    for metric in ["euclidean", "sqeuclidean"]:
        yield one(f"cdist-{metric}", "CDist", {"x": finite, "z": finite[:4]}, F, domain="com.microsoft", metric=metric)


def cases():
    noise = np.random.default_rng(5)
    for part in [regressors, classifiers, ensembles, linear, small]:
        yield from part(noise)
